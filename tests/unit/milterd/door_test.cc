// The door against our own milter client: a message that went through both is what the chain itself makes of it.
#include "core/milterd/door.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <random>

#include "core/base/strings.h"
#include "core/milter/session.h"
#include "core/milter/wire.h"
#include "core/rewrite/router.h"
#include "tests/support/on_loop.h"
#include "tests/support/scripted_stream.h"

using namespace millrace;
using filter::Action;
using filter::Edit;
using filter::Stage;
using filter::Verdict;

namespace {

struct Script final : filter::Filter {
  std::function<Verdict(Stage, filter::Context&)> at;
  std::function<Verdict(filter::Context&, const mime::Message&, filter::Journal&)> content;
  std::string own_name = "script";
  std::unique_ptr<filter::FilterSession> open(const filter::SessionFacts&) override {
    struct One final : filter::FilterSession {
      explicit One(Script& owner) : owner_(owner) {}
      Verdict at(Stage stage, filter::Context& context) override { return owner_.at ? owner_.at(stage, context) : Verdict(); }
      Verdict message(filter::Context& context, const mime::Message& message, filter::Journal& journal) override {
        return owner_.content ? owner_.content(context, message, journal) : Verdict();
      }
      void abort() override {}
      Script& owner_;
    };
    return std::make_unique<One>(*this);
  }
  const std::string& name() const override { return own_name; }
};

struct Outcome {
  std::vector<std::pair<std::string, Verdict>> verdicts;
  mime::Envelope envelope;
  std::vector<std::string> headers;
  std::string body;
};

// One transaction through a chain, as the SMTP server asks it.
Outcome transaction(filter::ChainSession& session, filter::SessionFacts& facts, std::vector<mime::Header> headers, const std::string& body,
                    const std::vector<std::string>& recipients) {
  Outcome out;
  const log::Logger log;
  mime::Envelope envelope;
  envelope.queue_id = "ABC";
  const auto at = [&](Stage stage, const std::string& command, const std::string& typed, const mime::Recipient* rcpt = nullptr) {
    filter::Context context{.session = facts, .envelope = envelope, .rcpt = rcpt, .command = command, .typed = typed};
    context.deadline = Deadline::after(std::chrono::seconds(20));
    context.log = &log;
    Verdict verdict = session.at(stage, context);
    out.verdicts.emplace_back(filter::stage_name(stage), verdict);
    return !verdict.refuses();
  };
  if (!at(Stage::connect, "", "")) return out;
  facts.helo_name = "client.example";
  if (!at(Stage::helo, "EHLO client.example", "client.example")) return out;
  envelope.sender = "a@sender.example";
  if (!at(Stage::mail, "MAIL FROM:<a@sender.example>", "<a@sender.example>")) return out;
  for (const std::string& one : recipients) {
    const mime::Recipient rcpt{one, one, "", 0};
    const std::string path = "<" + rewrite::quote_local(one) + ">";
    if (at(Stage::rcpt, "RCPT TO:" + path, path, &rcpt)) envelope.recipients.push_back(rcpt);
  }
  if (envelope.recipients.empty() || !at(Stage::data, "DATA", "")) return out;
  mime::Message message;
  message.headers = std::move(headers);
  REQUIRE(message.body.append(body));
  filter::Context context{.session = facts, .envelope = envelope};
  context.deadline = Deadline::after(std::chrono::seconds(20));
  context.log = &log;
  out.verdicts.emplace_back("eom", session.message(context, message, -1));
  for (const mime::Header& header : message.headers) out.headers.push_back(header.text());
  REQUIRE(message.body.for_each([&](std::string_view piece) { out.body += piece; return true; }));
  out.envelope = envelope;
  session.abort();
  session.close();
  return out;
}

filter::SessionFacts a_client() {
  filter::SessionFacts facts;
  facts.client_address = "192.0.2.1";
  facts.client_port = "4321";
  facts.client_name = facts.reverse_client_name = "mx.example";
  facts.name_status = facts.reverse_name_status = filter::SessionFacts::NameStatus::ok;
  return facts;
}

std::vector<mime::Header> a_header_section() {
  std::vector<mime::Header> out{mime::Header::make("Received", "from there by us"), mime::Header::make("Received", "from elsewhere"),
                                mime::Header::make("Subject", "hello\n there"), mime::Header::make("From", "a@sender.example"),
                                mime::Header::make("X-A", "1"), mime::Header::make("X-A", "2")};
  out.front().own_received = true;
  return out;
}

// Through the milter protocol.
Outcome through_the_door(std::shared_ptr<filter::Filter> filter, const std::string& body, const std::vector<std::string>& recipients) {
  Outcome out;
  test::on_loop_to_end([&] {
    milterd::Door door({}, log::Logger());
    auto behind = std::make_shared<filter::Chain>();
    behind->add(std::move(filter));
    door.use(behind);
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    net::Event done;
    REQUIRE(net::Loop::current().spawn(net::Stack::lua, [&] {
      door.serve(net::make_stream(ends[0]));
      done.set();
    }));
    milter::Settings settings;
    settings.service = "door";
    settings.macros.host_name = "mta.example";
    for (auto& list : settings.macros.lists) list = {"j", "i", "{client_name}", "{client_ptr}", "{client_resolve}"};
    settings.connector = [&](Deadline) -> Result<std::unique_ptr<net::Stream>> { return net::make_stream(ends[1]); };
    filter::Chain before;
    before.add(milter::make_milter(std::move(settings), {}));
    filter::SessionFacts facts = a_client();
    {
      filter::ChainSession session(before, facts, nullptr, log::Logger());
      out = transaction(session, facts, a_header_section(), body, recipients);
    }
    REQUIRE(done.wait(Deadline::after(std::chrono::seconds(10))));
    CHECK(door.connections() == 0);
  });
  return out;
}

Outcome in_process(std::shared_ptr<filter::Filter> filter, const std::string& body, const std::vector<std::string>& recipients) {
  Outcome out;
  test::on_loop([&] {
    filter::Chain chain;
    chain.add(std::move(filter));
    filter::SessionFacts facts = a_client();
    filter::ChainSession session(chain, facts, nullptr, log::Logger());
    out = transaction(session, facts, a_header_section(), body, recipients);
  });
  return out;
}

std::vector<std::string> addresses(const mime::Envelope& envelope) {
  std::vector<std::string> out;
  for (const mime::Recipient& one : envelope.recipients) out.push_back(one.address);
  std::sort(out.begin(), out.end());
  return out;
}

const std::vector<std::string> kRecipients{"b@dest.example", "odd \"one@dest.example", "c@dest.example"};

}  // namespace

TEST_CASE("milterd door: any edits come out as in-process", "[milterd][door]") {
  std::mt19937 random(7);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int round = 0; round < 150; ++round) {
    std::vector<Edit> edits;
    for (std::size_t i = below(7); i-- > 0;) {
      Edit edit{};
      edit.kind = static_cast<Edit::Kind>(std::vector<int>{0, 1, 2, 3, 4, 5, 6, 8}[below(8)]);
      const bool header = edit.kind == Edit::Kind::add_header || edit.kind == Edit::Kind::insert_header ||
                          edit.kind == Edit::Kind::change_header || edit.kind == Edit::Kind::delete_header || edit.kind == Edit::Kind::prepend_header;
      edit.index = below(5);
      edit.name = header ? std::vector<std::string>{"X-A", "Subject", "X-New", "Received"}[below(4)]
                         : std::vector<std::string>{"b@dest.example", "new@x.example", "odd \"one@dest.example", "q r@x.example"}[below(4)];
      if (header) edit.value = "value " + std::to_string(below(9)) + (below(2) ? "\n\tfolded" : "");
      edits.push_back(edit);
    }
    std::optional<std::string> fresh;
    if (below(3) == 0) fresh = std::string(below(3) * 40'000, 'x') + "\r\nend\r\n";
    const auto filter = [&] {
      auto made = std::make_shared<Script>();
      made->content = [edits, fresh](filter::Context&, const mime::Message&, filter::Journal& journal) {
        for (const Edit& edit : edits) journal.add(edit);
        if (fresh) REQUIRE(journal.append_body(*fresh));
        return Verdict();
      };
      return made;
    };
    const std::string body = below(2) ? "hello\r\n.\r\n" : std::string(200'000, 'y') + "\r\n";
    const Outcome here = in_process(filter(), body, kRecipients), there = through_the_door(filter(), body, kRecipients);
    REQUIRE(there.headers == here.headers);
    REQUIRE(there.body == here.body);
    REQUIRE(addresses(there.envelope) == addresses(here.envelope));
    REQUIRE(there.envelope.sender == here.envelope.sender);
  }
}

TEST_CASE("milterd door: verdicts at every stage", "[milterd][door]") {
  for (const Stage stage : {Stage::mail, Stage::rcpt, Stage::data, Stage::eom}) {
    for (const Verdict& verdict : {Verdict::reply(550, "5.7.9", "100% no\nreally"), Verdict::reply(451, "4.7.1", "later"),
                                   Verdict::reply(421, "4.7.0", "go away"), Verdict{Action::reject}, Verdict{Action::tempfail}}) {
      auto filter = std::make_shared<Script>();
      if (stage == Stage::eom) {
        filter->content = [&](filter::Context&, const mime::Message&, filter::Journal& journal) {
          journal.add({Edit::Kind::add_header, 0, "X-Not", "applied"});
          return verdict;
        };
      } else {
        filter->at = [&](Stage asked, filter::Context&) { return asked == stage ? verdict : Verdict(); };
      }
      const Outcome there = through_the_door(filter, "x\r\n", {"b@dest.example"});
      const Verdict& last = there.verdicts.back().second;
      INFO(filter::stage_name(stage) << " " << verdict.code << " " << verdict.text);
      REQUIRE(last.refuses());
      CHECK(last.code == (verdict.code != 0 ? verdict.code : verdict.action == Action::reject ? 550 : 451));
      if (verdict.code != 0) CHECK(last.enhanced == verdict.enhanced);
      if (verdict.code != 0) CHECK(last.text == verdict.text);
      for (const std::string& header : there.headers) CHECK(header.find("X-Not") == std::string::npos);
    }
  }
}

TEST_CASE("milterd door: what filters learn", "[milterd][door]") {
  auto filter = std::make_shared<Script>();
  std::vector<std::string> seen;
  filter->at = [&](Stage stage, filter::Context& context) {
    if (stage == Stage::connect) seen.push_back(context.session.client_address + " " + context.session.client_name + " " + context.session.client_port);
    if (stage == Stage::helo) seen.push_back(std::string(context.typed));
    if (stage == Stage::mail) seen.push_back(context.envelope.sender + " " + std::string(context.command));
    if (stage == Stage::rcpt) seen.push_back(context.rcpt->address + " " + std::string(context.typed) + " " + std::to_string(context.envelope.recipients.size()));
    if (stage == Stage::data) seen.push_back(context.envelope.queue_id);
    return Verdict();
  };
  filter->content = [&](filter::Context& context, const mime::Message& message, filter::Journal&) {
    seen.push_back(context.envelope.queue_id);
    CHECK(message.find("Received")->unfolded() == "from elsewhere");
    CHECK(message.headers.front().own_received);
    CHECK(message.find("Subject")->text() == "Subject: hello\r\n there");
    CHECK(message.body.memory() == "body\r\n");
    return Verdict();
  };
  (void)through_the_door(filter, "body\r\n", {"b@dest.example", "c@dest.example"});
  for (const std::string& one : seen) CHECK(one.find('\0') == std::string::npos);
  CHECK(seen == std::vector<std::string>{"192.0.2.1 mx.example 4321", "client.example", "a@sender.example MAIL FROM:<a@sender.example>",
                                         "b@dest.example <b@dest.example> 0", "c@dest.example <c@dest.example> 1", "ABC", "ABC"});
}

TEST_CASE("milterd door: quarantine and discard", "[milterd][door]") {
  auto filter = std::make_shared<Script>();
  filter->content = [](filter::Context&, const mime::Message&, filter::Journal&) {
    Verdict verdict{Action::quarantine};
    verdict.text = "looks odd";
    return verdict;
  };
  CHECK(through_the_door(filter, "x\r\n", {"b@dest.example"}).verdicts.back().second.action == Action::quarantine);
  filter->content = nullptr;
  filter->at = [](Stage stage, filter::Context&) { return stage == Stage::rcpt ? Verdict{Action::quarantine} : Verdict(); };
  CHECK(through_the_door(filter, "x\r\n", {"b@dest.example"}).verdicts.back().second.action == Action::quarantine);
  filter->at = [](Stage stage, filter::Context&) { return stage == Stage::mail ? Verdict{Action::discard} : Verdict(); };
  const auto discarded = through_the_door(filter, "x\r\n", {"b@dest.example"}).verdicts;
  CHECK(std::any_of(discarded.begin(), discarded.end(), [](const auto& one) { return one.second.action == Action::discard; }));
}

TEST_CASE("milterd door: an MTA that does not allow an edit gets the message put off", "[milterd][door]") {
  std::string in, sent;
  milter::Options options;
  options.version = 6;
  options.actions = 0x1;   // ADDHDRS alone
  milter::encode_options(options, in);
  milter::PacketWriter(in, milter::event::kMail).text("<a@b.example>");
  milter::PacketWriter(in, milter::event::kRcpt).text("<c@d.example>");
  milter::encode(milter::event::kEndOfMessage, {}, in);
  milter::encode(milter::event::kQuit, {}, in);
  test::on_loop([&] {
    milterd::Door door({}, log::Logger());
    auto filter = std::make_shared<Script>();
    filter->content = [](filter::Context&, const mime::Message&, filter::Journal& journal) {
      journal.add({Edit::Kind::add_header, 0, "X-A", "1"});
      journal.add({Edit::Kind::change_sender, 0, "other@b.example", ""});
      return Verdict();
    };
    auto chain = std::make_shared<filter::Chain>();
    chain->add(filter);
    door.use(chain);
    door.serve(std::make_unique<test::ScriptedStream>(std::deque<std::string>{in}, &sent));
  });
  std::vector<char> commands;
  std::string reply;
  for (std::string_view rest = sent; !rest.empty();) {
    const auto decoded = milter::decode(rest);
    REQUIRE(decoded.status == milter::DecodeStatus::ok);
    commands.push_back(decoded.packet.command);
    if (decoded.packet.command == milter::answer::kReplyCode) reply = decoded.packet.data;
    rest.remove_prefix(decoded.consumed);
  }
  CHECK(std::string(commands.begin(), commands.end()) == "Occy");
  CHECK(reply.starts_with("451 4.3.5 content filter configuration problem"));
}
