// Edits: milter's header indexes as Postfix counts them, recipients, all or nothing.
#include <catch2/catch.hpp>

#include "core/filter/chain.h"

using namespace millrace;
using namespace millrace::filter;
using Kind = Edit::Kind;

namespace {

mime::Message sample() {
  mime::Message message;
  message.headers.push_back(mime::Header::make("Received", "ours"));
  message.headers.back().own_received = true;
  message.headers.push_back(mime::Header::make("Received", "theirs"));
  message.headers.push_back(mime::Header::make("X", "1"));
  message.headers.push_back(mime::Header::make("X", "2"));
  message.headers.push_back(mime::Header::make("X", "3"));
  return message;
}

std::string edited(const std::vector<Edit>& edits) {
  mime::Message message = sample();
  mime::Envelope envelope;
  Journal journal;
  for (const Edit& edit : edits) journal.add(edit);
  REQUIRE(apply(journal, envelope, message, nullptr));
  std::string out;
  for (const mime::Header& header : message.headers) out += header.text() + "|";
  return out;
}

}  // namespace

TEST_CASE("edits: insert counts our Received, change and delete do not", "[filter]") {
  CHECK(edited({{Kind::insert_header, 0, "N", "v"}}) == "N: v|Received: ours|Received: theirs|X: 1|X: 2|X: 3|");
  CHECK(edited({{Kind::insert_header, 1, "N", "v"}}) == "Received: ours|N: v|Received: theirs|X: 1|X: 2|X: 3|");
  CHECK(edited({{Kind::insert_header, 99, "N", "v"}}) == "Received: ours|Received: theirs|X: 1|X: 2|X: 3|N: v|");
  CHECK(edited({{Kind::change_header, 1, "received", "new"}}) == "Received: ours|received: new|X: 1|X: 2|X: 3|");
  CHECK(edited({{Kind::change_header, 2, "Received", "new"}}) ==
        "Received: ours|Received: theirs|X: 1|X: 2|X: 3|Received: new|");
}

TEST_CASE("edits: a deletion moves later fields up at once", "[filter]") {
  CHECK(edited({{Kind::delete_header, 1, "X", ""}, {Kind::delete_header, 2, "X", ""}}) ==
        "Received: ours|Received: theirs|X: 2|");
  CHECK(edited({{Kind::change_header, 3, "X", ""}}) == "Received: ours|Received: theirs|X: 1|X: 2|");
  CHECK(edited({{Kind::delete_header, 4, "X", ""}}) == "Received: ours|Received: theirs|X: 1|X: 2|X: 3|");
}

TEST_CASE("edits: prepended fields stand above our Received in their order", "[filter]") {
  CHECK(edited({{Kind::prepend_header, 0, "A", "1"}, {Kind::prepend_header, 0, "B", "2"}}) ==
        "A: 1|B: 2|Received: ours|Received: theirs|X: 1|X: 2|X: 3|");
}

TEST_CASE("edits: no value can make a second header", "[filter]") {
  CHECK(edited({{Kind::change_header, 1, "X", "a\nEvil: b\r\n c"}}) ==
        "Received: ours|Received: theirs|X: a\r\n\tEvil: b\r\n c|X: 2|X: 3|");
  CHECK(edited({{Kind::change_header, 1, "X", "\ta\n b", true}}) ==
        "Received: ours|Received: theirs|X:\ta\r\n b|X: 2|X: 3|");
}

TEST_CASE("edits: the envelope", "[filter]") {
  mime::Message message;
  mime::Envelope envelope;
  envelope.sender = "old@a.example";
  envelope.recipients = {{"a@x.example", "A@x.example"}, {"b@x.example", "b@x.example"}};
  Journal journal;
  journal.add({Kind::add_recipient, 0, "<c@x.example>", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@x.example"});
  journal.add({Kind::add_recipient, 0, "<c@x.example>", "NOTIFY=DELAY,SUCCESS ORCPT=rfc822;c@x.example"});   // there already
  journal.add({Kind::delete_recipient, 0, "A@x.example", ""});
  journal.add({Kind::delete_recipient, 0, "B@X.EXAMPLE", ""});   // nobody: octet by octet
  journal.add({Kind::change_sender, 0, "<>", "RET=HDRS ENVID=q"});
  std::vector<std::string> log;
  REQUIRE(apply(journal, envelope, message, &log));
  CHECK(envelope.sender.empty());
  CHECK(envelope.envid == "q");
  CHECK(envelope.ret == mime::Ret::headers);
  REQUIRE(envelope.recipients.size() == 2);
  CHECK(envelope.recipients[0].address == "b@x.example");
  CHECK(envelope.recipients[1].address == "c@x.example");
  CHECK(envelope.recipients[1].notify == (mime::kNotifySuccess | mime::kNotifyDelay));
  CHECK(envelope.recipients[1].original.empty());
  CHECK(log.size() == 5);
  CHECK(journal.empty());
}

TEST_CASE("edits: one that makes no sense undoes them all", "[filter]") {
  mime::Message message = sample();
  mime::Envelope envelope;
  Journal journal;
  journal.add({Kind::change_sender, 0, "x@y.example", ""});
  journal.add({Kind::delete_header, 1, "X", ""});
  REQUIRE(journal.append_body("new\r\n"));
  journal.add({Kind::add_header, 0, "", "v"});
  CHECK_FALSE(apply(journal, envelope, message, nullptr));
  CHECK(message.headers.size() == 5);
  CHECK(message.body.size() == 0);
  CHECK(envelope.sender.empty());
}

TEST_CASE("edits: a new body takes the place of the old", "[filter]") {
  mime::Message message = sample();
  REQUIRE(message.body.append("old\r\n"));
  mime::Envelope envelope;
  Journal journal;
  REQUIRE(journal.append_body("new "));
  REQUIRE(journal.append_body("body\r\n"));
  REQUIRE(apply(journal, envelope, message, nullptr));
  CHECK(message.body.memory() == "new body\r\n");
}

TEST_CASE("edits: blanks in a milter's header name are let pass, below another field only", "[filter]") {
  CHECK(edited({{Kind::add_header, 0, " N", "v"}}) == "Received: ours|Received: theirs|X: 1|X: 2|X: 3| N: v|");
  for (const auto& [index, name] : {std::pair<std::size_t, std::string>(0, " N"), {1, " "}, {1, "N\n"}, {1, "N:"}}) {
    mime::Message message = sample();
    mime::Envelope envelope;
    Journal journal;
    journal.add({Kind::insert_header, index, name, "v"});
    CHECK_FALSE(apply(journal, envelope, message, nullptr));
  }
}

TEST_CASE("edits: what breaks a signature, and what adds one", "[filter]") {
  struct Case {
    Edit edit;
    bool adds, breaks;
  };
  const auto one = GENERATE(values<Case>({
      {{Edit::Kind::insert_header, 0, "DKIM-Signature", "v=1"}, true, false},
      {{Edit::Kind::add_header, 0, "dkim-signature", "v=1"}, true, false},
      {{Edit::Kind::add_header, 0, "X-Spam", "no"}, false, false},
      {{Edit::Kind::insert_header, 0, "Authentication-Results", "mx; none"}, false, false},
      {{Edit::Kind::change_header, 1, "Authentication-Results", "mx; none"}, false, false},
      {{Edit::Kind::delete_header, 1, "X-Spam", ""}, false, false},
      {{Edit::Kind::change_header, 1, "Subject", "other"}, false, true},
      {{Edit::Kind::delete_header, 1, "To", ""}, false, true},
      {{Edit::Kind::add_recipient, 0, "a@b.example", ""}, false, false},
  }));
  Journal journal;
  journal.add(one.edit);
  CAPTURE(one.edit.name);
  CHECK(adds_signature(journal) == one.adds);
  CHECK(breaks_signature(journal) == one.breaks);
  Journal body;
  CHECK_FALSE(breaks_signature(body));
  REQUIRE(body.append_body("x\r\n"));
  CHECK(breaks_signature(body));
}
