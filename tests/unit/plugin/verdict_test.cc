// What a plugin may and may not answer.
#include <catch2/catch.hpp>
#include <cmath>

#include "core/plugin/verdict.h"

using namespace millrace;
using namespace std::literals;
using plugin::to_verdict;

namespace {

mr_string text(std::string_view s) { return {s.data(), s.size()}; }

mr_verdict make(std::int32_t action, std::int32_t code = 0, std::string_view enhanced = {}, std::string_view words = {}) {
  mr_verdict v{};
  v.struct_size = sizeof v;
  v.action = action;
  v.smtp_code = code;
  v.enhanced = text(enhanced);
  v.text = text(words);
  return v;
}

}  // namespace

TEST_CASE("plugin verdict: good ones", "[plugin]") {
  mr_verdict v = make(MR_REJECT, 554, "5.7.1", "no, 100% sure");
  const mr_fact facts[] = {{text("score"), text("7\r\nx")}};
  v.reason_id = text("my-reason.1");
  v.score = 2.5;
  v.facts = facts;
  v.fact_count = 1;
  const auto out = to_verdict(&v, MR_STAGE_RCPT, false);
  REQUIRE(out);
  CHECK(out->action == filter::Action::reject);
  CHECK(out->code == 554);
  CHECK(out->enhanced == "5.7.1");
  CHECK(out->text == "no, 100% sure");
  CHECK(out->reason_id == "my-reason.1");
  CHECK(out->score == 2.5);
  CHECK(out->facts == std::vector<std::pair<std::string, std::string>>{{"plugin.score", "7??x"}});
  CHECK_FALSE(out->sticky);

  v = make(MR_DISCONNECT, 521, "5.7.1");
  CHECK(to_verdict(&v, MR_STAGE_HELO, false)->action == filter::Action::disconnect);
  v = make(MR_REJECT);
  v.flags = MR_VERDICT_FOR_SESSION;
  CHECK(to_verdict(&v, MR_STAGE_CONNECT, false)->sticky);
  v = make(MR_TEMPFAIL, 451, "4.7.1", "sp\xc3\xa4ter");
  CHECK(to_verdict(&v, MR_STAGE_MAIL, true));
  v = make(MR_CONTINUE);
  CHECK(to_verdict(&v, MR_STAGE_ABORT, false));
  v.struct_size = 16;   // an older, shorter one
  CHECK(to_verdict(&v, MR_STAGE_RCPT, false));
}

TEST_CASE("plugin verdict: bad ones", "[plugin]") {
  const auto [v, stage] = GENERATE(values<std::pair<mr_verdict, std::uint32_t>>({
      {make(7), MR_STAGE_RCPT},
      {make(-1), MR_STAGE_RCPT},
      {make(MR_REJECT, 451), MR_STAGE_RCPT},
      {make(MR_REJECT, 250), MR_STAGE_RCPT},
      {make(MR_TEMPFAIL, 550), MR_STAGE_RCPT},
      {make(MR_REJECT, 5500), MR_STAGE_RCPT},
      {make(MR_CONTINUE, 250), MR_STAGE_RCPT},
      {make(MR_REJECT, 550, "4.7.1"), MR_STAGE_RCPT},
      {make(MR_REJECT, 550, "5.7"), MR_STAGE_RCPT},
      {make(MR_REJECT, 550, "5..7.1"), MR_STAGE_RCPT},
      {make(MR_REJECT, 550, "5.7.1 x"), MR_STAGE_RCPT},
      {make(MR_REJECT, 550, "5.7.1", "a\r\n250 ok"), MR_STAGE_RCPT},
      {make(MR_REJECT, 550, "5.7.1", "a\0b"sv), MR_STAGE_RCPT},
      {make(MR_REJECT, 550, "5.7.1", "\xc3\xa4"), MR_STAGE_RCPT},
      {make(MR_DISCARD), MR_STAGE_CONNECT},
      {make(MR_QUARANTINE), MR_STAGE_HELO},
      {make(MR_REJECT), MR_STAGE_ABORT},
      {make(MR_DISCONNECT, 550), MR_STAGE_RCPT},
  }));
  CAPTURE(v.action, v.smtp_code);
  CHECK_FALSE(to_verdict(&v, stage, false));
}

TEST_CASE("plugin verdict: malformed structs", "[plugin]") {
  CHECK_FALSE(to_verdict(nullptr, MR_STAGE_RCPT, false));
  mr_verdict v = make(MR_REJECT);
  v.struct_size = 8;
  CHECK_FALSE(to_verdict(&v, MR_STAGE_RCPT, false));
  v = make(MR_REJECT);
  v.text = {nullptr, 5};
  CHECK_FALSE(to_verdict(&v, MR_STAGE_RCPT, false));
  v = make(MR_REJECT);
  v.text = {"x", 1u << 30};
  CHECK_FALSE(to_verdict(&v, MR_STAGE_RCPT, false));
  v = make(MR_REJECT);
  v.reason_id = text("no blanks");
  CHECK_FALSE(to_verdict(&v, MR_STAGE_RCPT, false));
  v = make(MR_REJECT);
  v.score = std::nan("");
  CHECK_FALSE(to_verdict(&v, MR_STAGE_RCPT, false));
  v = make(MR_REJECT);
  v.flags = 2;
  CHECK_FALSE(to_verdict(&v, MR_STAGE_CONNECT, false));
  v.flags = MR_VERDICT_FOR_SESSION;
  CHECK_FALSE(to_verdict(&v, MR_STAGE_RCPT, false));
  v = make(MR_CONTINUE);
  v.fact_count = 1;
  CHECK_FALSE(to_verdict(&v, MR_STAGE_RCPT, false));
}
