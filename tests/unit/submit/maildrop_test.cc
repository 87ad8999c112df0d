#include "core/submit/maildrop.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::submit;

namespace {

std::string records(const std::vector<std::pair<char, std::string>>& list) {
  std::string out;
  for (const auto& [type, text] : list) encode_record(type, text, out);
  return out;
}

struct Parsed {
  Result<void> done;
  Submission submission;
  std::string content;
};

Parsed parse(const std::string& bytes, std::size_t step = 1 << 20, std::size_t limit = 1000) {
  Parsed out;
  MaildropParser parser(limit, [&](std::string_view piece) -> Result<void> {
    out.content += piece;
    return {};
  });
  for (std::size_t at = 0; at < bytes.size() && out.done; at += step) out.done = parser.add(bytes.substr(at, step));
  if (out.done) out.done = parser.finish();
  out.submission = parser.submission();
  return out;
}

const std::string kGood = records({{'T', "1 2"}, {'A', "rewrite_context=local"}, {'A', "trace_flags=1024"}, {'A', "envelope_id=x"},
                                   {'A', "ret_flags=2"}, {'A', "encoding=8bit"}, {'F', "Joe\nB"}, {'S', "joe"}, {'V', "-+"}, {'R', "a@b"},
                                   {'A', "notify_flags=10"}, {'A', "dsn_orig_rcpt=rfc822;c@d"}, {'R', "c@d"}, {'M', ""},
                                   {'N', "Subject: x"}, {'N', ""}, {'L', "long "}, {'N', "line"}, {'N', "a\rb\nc\r\n"}, {'X', ""},
                                   {'R', "e@f"}, {'E', ""}});

}  // namespace

TEST_CASE("maildrop: a file as values, whatever pieces it comes in", "[maildrop]") {
  for (const std::size_t step : {1UL, 7UL, 1UL << 20}) {
    const Parsed parsed = parse(kGood, step);
    REQUIRE(parsed.done);
    const Submission& s = parsed.submission;
    CHECK(s.sender == "joe");
    CHECK(s.full_name == "Joe?B");
    CHECK(s.envid == "x");
    CHECK(s.verp == "-+");
    CHECK(s.ret == mime::Ret::headers);
    CHECK(s.body == mime::BodyType::eight_bit);
    CHECK(s.trace == mime::Trace::record);
    CHECK_FALSE(s.gateway);
    REQUIRE(s.recipients.size() == 3);
    CHECK(s.recipients[0].address == "a@b");
    CHECK(s.recipients[0].notify == 0);
    CHECK(s.recipients[1].notify == 10);
    CHECK(s.recipients[1].orcpt == "rfc822;c@d");
    CHECK(s.recipients[2].orcpt.empty());
    CHECK(parsed.content == "Subject: x\r\n\r\nlong line\r\na b c  \r\n");
  }
}

TEST_CASE("maildrop: no prefix of a file is a file", "[maildrop]") {
  for (std::size_t length = 0; length < kGood.size(); ++length) CHECK_FALSE(parse(kGood.substr(0, length)).done);
  CHECK_FALSE(parse(kGood + "x").done);
}

TEST_CASE("maildrop: hostile envelopes", "[maildrop]") {
  const auto with = [](char type, const std::string& text) {
    return parse(records({{'S', "a"}, {type, text}, {'R', "b@c"}, {'M', ""}, {'X', ""}, {'E', ""}}));
  };
  CHECK(with('R', "x@y").done);
  for (const char* text : {"x\n@y", "x\r@y", "x@y\x7f"}) CHECK_FALSE(with('R', text).done);
  CHECK_FALSE(with('R', std::string(3000, 'x')).done);
  for (const char* text : {"notify_flags=0", "notify_flags=3", "notify_flags=99", "notify_flags=-1", "notify_flags=", "noequals",
                           "dsn_orig_rcpt=rfc822;a b", "dsn_orig_rcpt=\n", "envelope_id=a\rb", "ret_flags=9", "trace_flags=x"}) {
    INFO(text);
    CHECK_FALSE(with('A', text).done);
  }
  CHECK(with('A', "unknown_name=anything\n").done);
  CHECK(with('A', "trace_flags=512").submission.trace == mime::Trace::verify);
  CHECK(with('A', "rewrite_context=remote").submission.gateway);
  CHECK_FALSE(parse(records({{'S', "a\nb"}, {'R', "b@c"}, {'M', ""}, {'X', ""}, {'E', ""}})).done);
  std::vector<std::pair<char, std::string>> many = {{'S', ""}};
  for (int i = 0; i < 11; ++i) many.emplace_back('R', "a@b");
  many.insert(many.end(), {{'M', ""}, {'X', ""}, {'E', ""}});
  CHECK(parse(records(many), 4096, 11).done);
  CHECK(parse(records(many), 4096, 10).done.error().code == Errc::too_large);
}

TEST_CASE("maildrop: the attributes come back", "[maildrop]") {
  Submission given;
  given.envid = "id";
  given.ret = mime::Ret::full;
  given.body = mime::BodyType::seven_bit;
  given.trace = mime::Trace::verify;
  given.gateway = true;
  mime::Recipient recipient;
  recipient.address = "r@s";
  recipient.notify = mime::kNotifyNever;
  recipient.orcpt = "rfc822;r@s";
  std::string bytes;
  for (const std::string& text : envelope_attributes(given)) encode_record('A', text, bytes);
  encode_record('S', "", bytes);
  for (const std::string& text : recipient_attributes(recipient)) encode_record('A', text, bytes);
  bytes += records({{'R', "r@s"}, {'M', ""}, {'X', ""}, {'E', ""}});
  const Parsed parsed = parse(bytes);
  REQUIRE(parsed.done);
  CHECK(parsed.submission.envid == "id");
  CHECK(parsed.submission.ret == mime::Ret::full);
  CHECK(parsed.submission.body == mime::BodyType::seven_bit);
  CHECK(parsed.submission.trace == mime::Trace::verify);
  CHECK(parsed.submission.gateway);
  CHECK(parsed.submission.recipients.at(0).notify == mime::kNotifyNever);
  CHECK(parsed.submission.recipients.at(0).orcpt == "rfc822;r@s");
}
