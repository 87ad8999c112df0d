#include "core/smtp/transcript.h"

#include <catch2/catch.hpp>

using namespace millrace::smtp;

TEST_CASE("smtp transcript: who said what, and why it ended", "[smtp][transcript]") {
  Transcript t;
  t.out(Reply(220, "", "mx ESMTP"));
  t.in("EHLO client");
  t.out(Reply(250, "", "mx\nSIZE"));
  t.in("FOO \x01 bar");
  t.out(Reply(500, "5.5.2", "Error: command not recognized"));
  CHECK(t.text("lost connection") ==
        "Transcript of session follows.\r\n\r\n Out: 220 mx ESMTP\r\n In:  EHLO client\r\n Out: 250-mx\r\n Out: 250 SIZE\r\n"
        " In:  FOO ? bar\r\n Out: 500 5.5.2 Error: command not recognized\r\n\r\nSession aborted, reason: lost connection\r\n"
        "\r\nFor other details, see the local mail logfile\r\n");
  CHECK(Transcript().text("") == "Transcript of session follows.\r\n\r\n\r\n\r\nFor other details, see the local mail logfile\r\n");
}

TEST_CASE("smtp transcript: long lines are folded, long sessions bounded", "[smtp][transcript]") {
  Transcript t(3);
  t.in("MAIL FROM:<" + std::string(50, 'a') + "@example.com> " + std::string(40, 'b'));
  CHECK(t.text("").find("@example.com>\r\n    bbbb") != std::string::npos);
  for (int i = 0; i < 100000; ++i) t.in("NOOP");
  CHECK(t.text("").size() < 70000);
  t.checkpoint();
  CHECK(t.text("").find("NOOP") == std::string::npos);
}

TEST_CASE("smtp transcript: classes of trouble", "[smtp][transcript]") {
  struct Case {
    int code;
    const char* dsn;
    bool by_policy;
    unsigned classes;
  };
  const Case c = GENERATE(values<Case>({{250, "2.0.0", false, 0},
                                        {554, "5.7.1", true, kNotifyPolicy},
                                        {450, "4.7.1", true, kNotifyPolicy},
                                        {451, "4.3.5", true, kNotifySoftware},
                                        {451, "4.3.0", true, kNotifySoftware},
                                        {500, "5.5.2", false, kNotifyProtocol},
                                        {503, "5.5.1", false, kNotifyProtocol},
                                        {421, "4.7.0", false, kNotifyProtocol},
                                        {552, "5.3.4", false, kNotifyBounce},
                                        {554, "5.4.0", false, kNotifyBounce},
                                        {452, "4.3.1", false, kNotifyResource},
                                        {451, "4.3.0", false, kNotifyResource}}));
  CAPTURE(c.code, c.dsn);
  CHECK(trouble_of(Reply(c.code, c.dsn, "text"), c.by_policy) == c.classes);
}

TEST_CASE("smtp transcript: words of notify_classes", "[smtp][transcript]") {
  CHECK(notify_classes("bounce, 2bounce delay,policy") == (kNotifyBounce | kNotifyPolicy));
  CHECK(notify_classes("Resource, software") == (kNotifyResource | kNotifySoftware));
  CHECK(notify_classes("") == 0);
}

TEST_CASE("smtp transcript: an accepted message makes good", "[smtp][transcript]") {
  Transcript t;
  t.trouble(kNotifyPolicy);
  t.forgive();
  CHECK(t.classes() == 0);
}
