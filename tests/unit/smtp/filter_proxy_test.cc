// smtpd_proxy_filter against a filter on a real socket.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <thread>

#include "core/smtp/proxy_filter.h"
#include "tests/support/conversation.h"

using namespace millrace;
using namespace millrace::test;

namespace {

// Serves one connection: says what `replies` has for the first word of a line, else 250; keeps what came.
using Replies = std::map<std::string, std::string>;

class Filter {
 public:
  explicit Filter(std::map<std::string, std::string> replies) : replies_(std::move(replies)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::listen(listener_, 1) == 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Filter() {
    ::shutdown(listener_, SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
    ::close(listener_);
  }
  std::string settings() const { return "smtpd_proxy_filter = 127.0.0.1:" + std::to_string(port_) + "\nsmtpd_proxy_timeout = 2s\n"; }
  std::string heard() {
    if (thread_.joinable()) thread_.join();
    return heard_;
  }

 private:
  void say(int fd, const std::string& text) { (void)!::send(fd, text.data(), text.size(), MSG_NOSIGNAL); }
  void serve() {
    const int fd = ::accept(listener_, nullptr, nullptr);
    if (fd < 0) return;
    say(fd, replies_.contains("220") ? replies_["220"] : "220 filter ready\r\n");
    std::string line;
    bool content = false;
    for (char c; ::read(fd, &c, 1) == 1;) {
      line += c;
      if (c != '\n') continue;
      heard_ += line;
      const std::string word = content ? line == ".\r\n" ? "." : "" : line.substr(0, 4);
      line.clear();
      if (word.empty()) continue;
      const auto known = replies_.find(word);
      std::string reply = known != replies_.end() ? known->second : word == "DATA" ? "354 go\r\n" : "250 ok\r\n";
      if (word == "EHLO" && known == replies_.end()) reply = "250-filter\r\n250 XFORWARD NAME ADDR PORT HELO IDENT PROTO SOURCE\r\n";
      content = word == "DATA" && reply.starts_with("354");
      if (reply.empty()) break;
      say(fd, reply);
    }
    ::close(fd);
  }
  std::map<std::string, std::string> replies_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::string heard_;
  std::thread thread_;
};

const std::vector<std::string> kMessage = {"EHLO c.example", "MAIL FROM:<a@s.example> SIZE=5", "RCPT TO:<b@dest.example>", "DATA",
                                           "Subject: x\r\n\r\n..dot\r\n.", "QUIT"};
// The last replies of the session, without the farewell.
std::string answer(Conversation& talk) {
  std::deque<std::string> script;
  for (const std::string& line : kMessage) script.push_back(line + "\r\n");
  std::string all = talk.pieces(std::move(script));
  all.resize(all.size() - std::string("221 2.0.0 Bye\r\n").size());
  const std::size_t at = all.rfind("250 CHUNKING\r\n");
  return all.substr(at + std::string("250 CHUNKING\r\n").size());
}
const std::string kMailOk = "250 2.1.0 Ok\r\n", kRcptOk = "250 2.1.5 Ok\r\n";
const std::string kGo = "354 End data with <CR><LF>.<CR><LF>\r\n", kBroken = "451 4.3.0 Error: queue file write error\r\n";

}  // namespace

TEST_CASE("proxy filter: gets what the client said, answers in our place", "[smtp][proxy]") {
  Filter filter(Replies{{".", "250 2.0.0 taken as 77\r\n"}});
  Conversation talk(filter.settings());
  CHECK(answer(talk) == kMailOk + kRcptOk + kGo + "250 2.0.0 taken as 77\r\n");
  CHECK(talk.sink.stored.empty());
  const std::string heard = filter.heard();
  CHECK(heard.starts_with("EHLO mx.example\r\nXFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.10 PORT="));
  CHECK(heard.find(" HELO=c.example IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=REMOTE\r\n"
                   "MAIL FROM:<a@s.example> SIZE=5\r\nRCPT TO:<b@dest.example>\r\nDATA\r\n"
                   "Received: from c.example (unknown [192.0.2.10])\r\n\tby mx.example (Mill) with ESMTP\r\n"
                   "\tfor <b@dest.example>; ") != std::string::npos);
  CHECK(heard.ends_with("\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n"));
  CHECK(talk.log.find("\nproxy-accept: END-OF-MESSAGE: 250 2.0.0 taken as 77; from=<a@s.example> to=<b@dest.example> proto=ESMTP helo=<c.example>\n") != std::string::npos);
}

TEST_CASE("proxy filter: its refusals are the client's", "[smtp][proxy]") {
  SECTION("at RCPT") {
    Filter filter(Replies{{"RCPT", "550-5.7.1 not\r\n550 5.7.1 here\r\n"}});
    Conversation talk(filter.settings());
    CHECK(answer(talk).starts_with(kMailOk + "550-5.7.1 not\r\n550 5.7.1 here\r\n554 5.5.1 Error: no valid recipients\r\n"));
  }
  SECTION("at DATA") {
    Filter filter(Replies{{"DATA", "451 4.7.1 later\r\n"}});
    Conversation talk(filter.settings());
    CHECK(answer(talk).starts_with(kMailOk + kRcptOk + "451 4.7.1 later\r\n"));
  }
  SECTION("at the end") {
    Filter filter(Replies{{".", "554 5.6.0 spam\r\n"}});
    Conversation talk(filter.settings());
    CHECK(answer(talk) == kMailOk + kRcptOk + kGo + "554 5.6.0 spam\r\n");
  }
}

TEST_CASE("proxy filter: speed_adjust calls it when the message is there", "[smtp][proxy]") {
  Filter filter(Replies{{"RCPT", "550 5.1.1 unknown\r\n"}});
  Conversation talk(filter.settings() + "smtpd_proxy_options = speed_adjust\n");
  CHECK(answer(talk) == kMailOk + kRcptOk + kGo + "550 5.1.1 unknown\r\n");
}

TEST_CASE("proxy filter: one that is broken is never a success", "[smtp][proxy]") {
  for (const std::string& reply : {std::string("what?\r\n"), std::string("220-\r\n220"), std::string("354 no\r\n"), std::string()}) {
    CAPTURE(reply);
    Filter filter(Replies{{".", reply}});
    Conversation talk(filter.settings());
    CHECK(answer(talk) == kMailOk + kRcptOk + kGo + kBroken);
  }
  Filter busy(Replies{{"220", "421 busy\r\n"}});
  Conversation refused(busy.settings());
  CHECK(answer(refused).starts_with(kMailOk + kBroken));
  Conversation nobody("smtpd_proxy_filter = 127.0.0.1:1\n");
  CHECK(answer(nobody).starts_with(kMailOk + kBroken));
}

TEST_CASE("proxy filter: places", "[smtp][proxy]") {
  const auto place = [](const char* text) {
    const auto at = smtp::parse_proxy_place(text, "/q");
    return at ? at->to_text() : "error: " + at.error().context;
  };
  CHECK(place("127.0.0.1:10025") == "127.0.0.1:10025");
  CHECK(place("inet:[::1]:10025") == "[::1]:10025");
  CHECK(place(":10025") == "127.0.0.1:10025");
  CHECK(place("10025") == "127.0.0.1:10025");
  CHECK(place("unix:private/f") == "/q/private/f");
  CHECK(place("unix:/run/f") == "/run/f");
  CHECK(place("127.0.0.1:nonsense").starts_with("error: no such host or port"));
}
