// The policy protocol's bytes and the argument of the restriction word.
#include <catch2/catch.hpp>

#include "core/config/config.h"
#include "core/policy/options.h"
#include "core/policy/wire.h"

using namespace millrace;
using namespace millrace::policy;

TEST_CASE("policy wire: golden bytes of a request", "[policy]") {
  CHECK(encode({{"request", "smtpd_access_policy"}, {"size", std::int64_t{12}}, {"helo_name", "a\nb"}, {"sender", ""}}) ==
        "request=smtpd_access_policy\nsize=12\nhelo_name=a?b\nsender=\n\n");
}

TEST_CASE("policy wire: every prefix of an answer needs more", "[policy]") {
  const std::string reply = "x=y\naction=DEFER_IF_PERMIT 4.7.1 a=b\naction=OK\n\n";
  for (std::size_t size = 0; size < reply.size(); ++size) {
    CHECK(decode(std::string_view(reply).substr(0, size)).status == DecodeStatus::need_more);
  }
  const std::string more = reply + "more";
  const Decoded decoded = decode(more);
  CHECK(decoded.status == DecodeStatus::ok);
  CHECK(decoded.consumed == reply.size());
  CHECK(decoded.action == "DEFER_IF_PERMIT 4.7.1 a=b");
}

TEST_CASE("policy wire: nonsense is malformed, too much is too large", "[policy]") {
  CHECK(decode("\x01\x02 garbage\n\n").status == DecodeStatus::malformed);
  CHECK(decode("result=OK\n\n").status == DecodeStatus::malformed);
  CHECK(decode("\n").status == DecodeStatus::malformed);
  CHECK(decode(std::string("action=a\0b\n\n", 12)).status == DecodeStatus::malformed);
  CHECK(decode(std::string(kMaxReply, 'a')).status == DecodeStatus::need_more);
  CHECK(decode(std::string(kMaxReply + 1, 'a')).status == DecodeStatus::too_large);
  std::string endless;
  while (endless.size() <= kMaxReply) endless += "a=b\n";
  CHECK(decode(endless + "action=OK\n\n").status == DecodeStatus::too_large);
}

TEST_CASE("policy options: forms of the argument", "[policy]") {
  config::Findings findings;
  const auto config = config::Config::from_text("smtpd_policy_service_timeout = 7s\n", "", findings);
  const auto parse = [&](std::string_view text) { return parse_service(text, config->params()); };

  const auto inet = parse("inet:127.0.0.1:10023");
  REQUIRE(inet);
  CHECK(inet->host == "127.0.0.1");
  CHECK(inet->port == "10023");
  CHECK(inet->name == "127.0.0.1:10023");
  CHECK(inet->timeout == std::chrono::seconds(7));
  CHECK(inet->default_action == "451 4.3.5 Server configuration problem");
  CHECK(parse("inet:[::1]:10023")->host == "::1");

  const auto braced = parse(
      "{ unix:private/policy, timeout=2s, {default_action = DEFER_IF_PERMIT greylist is down}, try_limit = 1, "
      "max_connections =3, policy_context=ctx }");
  REQUIRE(braced);
  CHECK(braced->path == "private/policy");
  CHECK(braced->timeout == std::chrono::seconds(2));
  CHECK(braced->default_action == "DEFER_IF_PERMIT greylist is down");
  CHECK(braced->try_limit == 1);
  CHECK(braced->max_connections == 3);
  CHECK(braced->policy_context == "ctx");

  for (const char* bad : {"tcp:x:1", "inet:", "unix:", "{ }", "{ inet:a:1, timeout=x }", "{ inet:a:1, what=1 }",
                          "{ inet:a:1, timeout }", "{ inet:a:1", "{ inet:a:1, try_limit=0 }"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse(bad));
  }
}
