// Any bytes as Content-Type and body: parts lie inside of the body, reading ends, and one octet at a time gives the same
// as a large buffer.  The values of headers and Authentication-Results fields are parsed on the way.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/plugin/authserv.h"
#include "core/plugin/mime_view.h"

using namespace millrace;

namespace {

std::string read_all(plugin::MimeView& view, std::size_t part, std::size_t step) {
  std::string whole, piece(step, '\0');
  for (;;) {
    const auto n = view.read(part, whole.size(), piece);
    if (!n || *n > step) std::abort();
    if (*n == 0) return whole;
    whole.append(piece, 0, *n);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = input.find('\n');
  const std::string_view type = input.substr(0, cut), body = cut == input.npos ? "" : input.substr(cut + 1);
  (void)plugin::authserv_id_of(input);
  (void)plugin::parse_parameterized(input);
  mime::Message message;
  message.headers.push_back(mime::Header::make("Content-Type", type));
  if (!message.body.append(body)) std::abort();
  plugin::MimeView view(message);
  if (view.parts().empty()) std::abort();
  for (std::size_t i = 0; i < view.parts().size() && i < 20; ++i) {
    const plugin::MimePart& part = view.parts()[i];
    if (part.offset > body.size() || part.size > body.size() - part.offset) std::abort();
    if (read_all(view, i, 4096) != read_all(view, i, 1)) std::abort();
  }
  return 0;
}
