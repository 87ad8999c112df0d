// Reading requests: see request.h.
#include "core/policyd/request.h"

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::policyd {

RequestReader::Status RequestReader::line(std::string_view text) {
  octets_ += text.size() + 1;
  if (text.size() > kMaxLine || octets_ > kMaxRequest) return wrong("request too long");
  if (text.empty()) {
    if (attributes_.empty()) return wrong("empty request");
    const std::string_view kind = find(attributes_, "request");
    if (kind != "smtpd_access_policy") return wrong("not a request for smtpd_access_policy: \"" + printable(kind.substr(0, 60)) + "\"");
    return Status::complete;
  }
  const std::size_t equal = text.find('=');
  if (equal == text.npos || equal == 0 || text.find('\0') != text.npos) return wrong("not name=value: \"" + printable(text.substr(0, 60)) + "\"");
  if (attributes_.size() >= kMaxAttributes) return wrong("too many attributes");
  attributes_.emplace_back(std::string(trim(text.substr(0, equal))), std::string(text.substr(equal + 1)));
  return Status::need_more;
}

Attributes RequestReader::take() {
  octets_ = 0;
  return std::exchange(attributes_, {});
}

std::string_view find(const Attributes& attributes, std::string_view name) {
  const auto place = std::find_if(attributes.begin(), attributes.end(), [&](const auto& one) { return one.first == name; });
  return place == attributes.end() ? std::string_view() : std::string_view(place->second);
}

}  // namespace millrace::policyd
