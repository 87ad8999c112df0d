// What both engines share: see engine.h.
#include "plugins/dkim/engine.h"

#include <algorithm>

#include "plugins/dkim/tags.h"

namespace millrace::dkim {

Mail split_header(std::string_view header) {
  Mail out;
  for (std::size_t at = 0; at < header.size();) {
    std::size_t end = at;
    for (;;) {   // to a CRLF that no white space follows
      end = header.find("\r\n", end);
      if (end == header.npos) {
        end = header.size();
        break;
      }
      if (end + 2 >= header.size() || (header[end + 2] != ' ' && header[end + 2] != '\t')) break;
      end += 2;
    }
    const std::string_view field = header.substr(at, end - at);
    if (const std::string_view name = field_name(field); !name.empty()) {
      out.fields.push_back(field);
      out.names.push_back(lower(name));
    }
    at = end + 2;
  }
  return out;
}

std::vector<Signature> find_signatures(const Mail& mail, std::uint64_t now, std::size_t limit, std::size_t& left) {
  std::vector<Signature> out;
  left = 0;
  for (std::size_t i = 0; i < mail.fields.size(); ++i) {
    if (mail.names[i] != "dkim-signature") continue;
    if (out.size() >= limit) {
      ++left;
      continue;
    }
    out.push_back(parse_signature(mail.fields[i], now));
    out.back().field = i;
  }
  return out;
}

std::vector<std::string> signed_headers(const Mail& mail, const std::vector<std::string>& wanted, const std::vector<std::string>& oversigned) {
  std::vector<std::string> out;
  for (const std::string& name : wanted) {
    if (std::find(out.begin(), out.end(), name) != out.end()) continue;
    const auto count = std::count(mail.names.begin(), mail.names.end(), name);
    out.insert(out.end(), static_cast<std::size_t>(count), name);
  }
  // Once more than they are there: nobody can add one.
  for (const std::string& name : oversigned) {
    if (std::find(out.begin(), out.end(), name) == out.end()) {
      out.insert(out.end(), static_cast<std::size_t>(std::count(mail.names.begin(), mail.names.end(), name)), name);
    }
    out.push_back(name);
  }
  return out;
}

}  // namespace millrace::dkim
