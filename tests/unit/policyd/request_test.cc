// Requests and the configuration file, as bytes.
#include <catch2/catch.hpp>

#include "core/policyd/request.h"
#include "core/service/program.h"

using namespace millrace::policyd;
using Status = RequestReader::Status;

TEST_CASE("policyd request: lines become attributes", "[policyd]") {
  RequestReader reader;
  CHECK(reader.line("request=smtpd_access_policy") == Status::need_more);
  CHECK(reader.line("sender=a=b@x") == Status::need_more);
  CHECK(reader.line("recipient=") == Status::need_more);
  CHECK(reader.line("") == Status::complete);
  const Attributes attributes = reader.take();
  CHECK(attributes == Attributes{{"request", "smtpd_access_policy"}, {"sender", "a=b@x"}, {"recipient", ""}});
  CHECK(find(attributes, "sender") == "a=b@x");
  CHECK(find(attributes, "none").empty());
  CHECK(reader.is_empty());
  CHECK(reader.line("request=smtpd_access_policy") == Status::need_more);
  CHECK(reader.line("") == Status::complete);
}

TEST_CASE("policyd request: what is none", "[policyd]") {
  const auto why = [](std::vector<std::string> lines) {
    RequestReader reader;
    for (const std::string& line : lines) {
      if (reader.line(line) == Status::malformed) return reader.why();
    }
    return std::string();
  };
  CHECK(why({""}) == "empty request");
  CHECK(why({"a=b", ""}) == "not a request for smtpd_access_policy: \"\"");
  CHECK(why({"request=junk", ""}) == "not a request for smtpd_access_policy: \"junk\"");
  CHECK(why({"GET / HTTP/1.1"}) == "not name=value: \"GET / HTTP/1.1\"");
  CHECK(why({"=x"}) == "not name=value: \"=x\"");
  CHECK(why({std::string("a=\0b", 4)}) == "not name=value: \"a=?b\"");
  CHECK(why({std::string(RequestReader::kMaxLine + 1, 'a')}) == "request too long");
  CHECK(why(std::vector<std::string>(10, "a=" + std::string(10'000, 'b'))) == "request too long");
  CHECK(why(std::vector<std::string>(300, "a=b")) == "too many attributes");
}

TEST_CASE("policyd config: names, comments, values with an equals sign", "[policyd]") {
  const auto parsed = millrace::service::parse_config("# a comment\nHELO_reject = Fail\n\n  Reason_Message=see http://x/?a=b#c # why\nWhitelist =\n");
  REQUIRE(parsed.has_value());
  CHECK(*parsed == std::map<std::string, std::string>{{"HELO_reject", "Fail"}, {"Reason_Message", "see http://x/?a=b#c"}, {"Whitelist", ""}});
  CHECK(millrace::service::parse_config("a = b\nnothing\n").error().context == "line 2: \"nothing\" is not key = value");
  CHECK_FALSE(millrace::service::parse_config("= x").has_value());
}
