#include "core/smtp/transaction.h"

#include "core/base/strings.h"

namespace millrace::smtp {

void Transaction::prepend_to(mime::Message& message) const {
  std::vector<mime::Header> fields;
  for (const std::string& text : prepend) {
    const std::size_t length = mime::header_name_length(text);
    if (length == 0) continue;
    fields.push_back(mime::Header::make(text.substr(0, length), trim(std::string_view(text).substr(text.find(':') + 1))));
  }
  message.headers.insert(message.headers.begin(), fields.begin(), fields.end());
}

}  // namespace millrace::smtp
