// Text that users and aliases hold, and reports of delivery tasks: no input is a crash, and sizes stay bounded.
#include <cstdint>

#include "core/base/assert.h"
#include "core/local/alias_list.h"
#include "core/local/alias_maps.h"
#include "core/local/message_copy.h"
#include "core/local/report.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace::local;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::size_t total = 0;
  for (const Destination& one : parse_destinations(bytes)) total += one.text.size();
  MR_ASSERT(total <= 2 * bytes.size());
  (void)parse_destination_file(bytes);
  (void)parse_alias_file(bytes);
  (void)plain_command(bytes);
  if (const auto records = decode_report(bytes)) {
    std::string again;
    for (const Record& one : *records) encode(one, again);
    MR_ASSERT(decode_report(again));
  }
  CopyOptions options;
  options.quote_from = options.dot = true;
  MessageCopy whole(options), split(options);
  std::string first, second;
  whole.feed(bytes, first);
  whole.finish(first);
  for (std::size_t at = 0; at < bytes.size(); at += 3) split.feed(bytes.substr(at, 3), second);
  split.finish(second);
  MR_ASSERT(first == second);
  return 0;
}
