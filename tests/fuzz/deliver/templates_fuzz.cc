// bounce_template_file: any bytes leave four templates that can be sent.
#include <cstdint>
#include <cstdlib>

#include "core/base/strings.h"
#include "core/deliver/templates.h"

using namespace millrace::deliver;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Templates out;
  read_templates({reinterpret_cast<const char*>(data), size}, out, [](const std::string&) {});
  for (const Template* one : {&out.failure, &out.delay, &out.success, &out.verify}) {
    if (one->text.empty() || !one->text.ends_with("\r\n")) std::abort();
    for (const std::string* field : {&one->charset, &one->from, &one->subject, &one->postmaster_subject}) {
      if (field->find_first_of("\r\n") != std::string::npos || !millrace::is_ascii(*field)) std::abort();
    }
  }
  (void)expand_templates(out, 3600, 86400, [](std::string_view) { return std::optional<std::string>("x"); });
  return 0;
}
