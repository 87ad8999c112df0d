// What `millrace explain` prints.
#include <catch2/catch.hpp>

#include "core/tools/explain_tool.h"

TEST_CASE("explain: one head per session, one line per decision", "[tools]") {
  const std::string text = millrace::tools::explain_text({
      R"({"when":1000001,"session":"7.1","transaction":1,"client":"a[192.0.2.1]","helo":"h","stage":"rcpt","filter":"restrictions",)"
      R"("action":"reject","code":554,"text":"5.7.1 no","reason":"reject","recipient":"b@c","latency_us":12})",
      "not json",
      R"({"when":1000002,"session":"7.1","transaction":1,"client":"a[192.0.2.1]","stage":"eom","filter":"lua:x","action":"continue",)"
      R"("failure":"x.lua:1: broke","latency_us":3,"shadow":true,"edits":["add header X: y"]})",
  });
  CHECK(text.find("session 7.1 client a[192.0.2.1] helo h\n") == 0);
  CHECK(text.find(".000001  rcpt    restrictions             reject 554 5.7.1 no rcpt=<b@c> [reject] 12 us\n") != std::string::npos);
  CHECK(text.find("eom     lua:x                    continue (shadow: not applied) 3 us\n    failed: x.lua:1: broke\n    add header X: y\n") !=
        std::string::npos);
}
