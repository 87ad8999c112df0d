// The door with a hostile MTA: it ends, and whatever it sends back is packets of the protocol.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/milter/wire.h"
#include "core/milterd/door.h"
#include "core/net/fiber.h"
#include "tests/support/scripted_stream.h"

using namespace millrace;
using filter::Edit;
using filter::Stage;
using filter::Verdict;

namespace {

struct Busy final : filter::Filter {
  std::unique_ptr<filter::FilterSession> open(const filter::SessionFacts&) override {
    struct One final : filter::FilterSession {
      Verdict at(Stage stage, filter::Context& context) override {
        if (stage == Stage::rcpt && context.rcpt->address.starts_with("no")) return Verdict::reply(550, "5.7.1", context.rcpt->address);
        return {};
      }
      Verdict message(filter::Context& context, const mime::Message& message, filter::Journal& journal) override {
        journal.add({Edit::Kind::insert_header, 1, "X-Was", context.session.helo_name});
        journal.add({Edit::Kind::change_header, 1, "Subject", "changed"});
        journal.add({Edit::Kind::delete_header, 2, "Received", ""});
        if (message.body.size() % 3 == 0) (void)journal.append_body("new\r\n");
        return {};
      }
      void abort() override {}
    };
    return std::make_unique<One>();
  }
  const std::string& name() const override { return name_; }
  std::string name_ = "busy";
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string in, sent;
  if ((data[0] & 1) != 0) {   // most inputs come past the negotiation
    milter::Options options;
    options.version = 6;
    options.actions = (data[0] & 2) != 0 ? milter::kAllActions : 0x1;
    options.protocol = (data[0] & 4) != 0 ? ~0u : 0;
    milter::encode_options(options, in);
  }
  in.append(reinterpret_cast<const char*>(data) + 1, size - 1);
  net::Loop loop;
  const bool started = loop.spawn(net::Stack::lua, [&] {
    milterd::DoorOptions options;
    options.header_limit = 10'000;
    options.body_limit = 20'000;
    milterd::Door door(options, log::Logger());
    auto chain = std::make_shared<filter::Chain>();
    chain->add(std::make_shared<Busy>());
    door.use(chain);
    door.serve(std::make_unique<test::ScriptedStream>(std::deque<std::string>{in}, &sent));
    loop.stop();
  }).has_value();
  if (!started) return 0;
  loop.run();
  for (std::string_view rest = sent; !rest.empty();) {
    const auto decoded = milter::decode(rest);
    if (decoded.status != milter::DecodeStatus::ok) std::abort();
    rest.remove_prefix(decoded.consumed);
  }
  return 0;
}
