// Requests, line by line, and the configuration file.
#include <cstdint>

#include "core/base/assert.h"
#include "core/policyd/request.h"
#include "core/service/program.h"

using namespace millrace::policyd;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto keys = millrace::service::parse_config(text)) {
    for (const auto& one : *keys) MR_ASSERT(!one.first.empty());
  }
  RequestReader reader;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const auto status = reader.line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (status == RequestReader::Status::malformed) {
      MR_ASSERT(!reader.why().empty());
      return 0;
    }
    if (status == RequestReader::Status::complete) {
      const Attributes attributes = reader.take();
      MR_ASSERT(find(attributes, "request") == "smtpd_access_policy" && attributes.size() <= RequestReader::kMaxAttributes);
    }
  }
  return 0;
}
