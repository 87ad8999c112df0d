// Records and explanations as a domain may publish them; the first byte says which answer DNS gives to the rest.
#include <cstdint>

#include "core/base/assert.h"
#include "plugins/spf/evaluator.h"
#include "plugins/spf/record.h"

using namespace millrace::spf;

namespace {

class OneRecord final : public Resolver {
 public:
  OneRecord(std::string text, unsigned mood) : text_(std::move(text)), mood_(mood) {}
  Answer query(const std::string& name, RecordType type) override {
    MR_ASSERT(!name.empty() && name.size() <= 253 && ++asked < 400);
    if (type == RecordType::txt) return {Answer::Status::ok, {text_}};
    if ((mood_ & 3) == 0) return {Answer::Status::nothing, {}};
    if ((mood_ & 3) == 1 && (mood_ & 4) != 0) return {};
    if (type == RecordType::a) return {Answer::Status::ok, {"192.0.2.1", "not an address"}};
    if (type == RecordType::aaaa) return {Answer::Status::ok, {"2001:db8::1"}};
    return {Answer::Status::ok, {"mail.example.com", "", ".", std::string(300, 'a'), "x..y"}};
  }
  int asked = 0;

 private:
  std::string text_;
  unsigned mood_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const unsigned mood = data[0];
  OneRecord resolver(std::string(reinterpret_cast<const char*>(data) + 1, size - 1), mood);
  Query query;
  query.client = *parse_address((mood & 8) != 0 ? "2001:db8::2" : "192.0.2.7");
  query.sender = "\"odd @ one\"@sub.example.com";
  query.helo = "helo.example";
  const Outcome out = check(resolver, query);
  for (const char c : out.explanation) MR_ASSERT(c >= 0x20 && c < 0x7F);
  return 0;
}
