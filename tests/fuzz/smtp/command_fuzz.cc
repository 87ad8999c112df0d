// Any command line: words, parameters, paths, replies made of what was typed.
#include <cstdint>
#include <string_view>

#include "core/base/assert.h"
#include "core/smtp/address.h"
#include "core/smtp/command.h"
#include "core/smtp/reply.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const std::vector<smtp::Word> words = smtp::split_words(line);
  MR_ASSERT(words.size() <= smtp::kMaxWords);
  for (const smtp::Word& word : words) {
    MR_ASSERT(!word.text.empty());
    const auto lenient = smtp::parse_path(word.text, false);
    MR_ASSERT(!lenient || lenient->size() <= word.text.size());
    smtp::parse_path(word.text, true);
    smtp::is_host_name(word.text, true);
    smtp::is_ip_address(word.text);
    MR_ASSERT(smtp::decode_xtext(smtp::encode_xtext(word.text)) == word.text);
    smtp::decode_xtext(word.text);
  }
  smtp::MailParameters mail;
  if (const auto error = smtp::parse_mail_parameters(words, 0, {}, mail)) {
    const std::string wire = smtp::Reply(error->code, error->enhanced, error->text).wire();
    MR_ASSERT(wire.size() <= 512 * (1 + size));
    MR_ASSERT(wire.ends_with("\r\n"));
  }
  smtp::RcptParameters rcpt;
  smtp::parse_rcpt_parameters(words, 0, {}, rcpt);
  smtp::parse_chunk(words);
  smtp::Reply footer(554, "5.7.1", line);
  smtp::append_footer(footer, line);
  footer.wire();
  return 0;
}
