// The restrictions as the client meets them; answers as Postfix 3.7 gives them.
#include "tests/support/on_loop.h"
#include "tests/unit/restrict/bench.h"

using namespace millrace;
using test::RestrictBench;

TEST_CASE("restrictions: relaying", "[restrict]") {
  RestrictBench bench("");
  bench.mail("a@sender.example");
  CHECK(bench.rcpt("b@dest.example") == "ok");
  CHECK(bench.rcpt("b@elsewhere.example") == "454 4.7.1 <b@elsewhere.example>: Relay access denied");
  CHECK(bench.rcpt("postmaster") == "ok");
  CHECK(bench.rcpt("unknown@dest.example") ==
        "550 5.1.1 <unknown@dest.example>: Recipient address rejected: User unknown in relay recipient table");
  CHECK(bench.rcpt("broken@dest.example") == "451 4.3.0 <broken@dest.example>: Temporary lookup failure");
  bench.facts.client_address = "127.0.0.1";
  CHECK(bench.rcpt("b@elsewhere.example") == "ok");
  bench.facts.client_address = "";
  CHECK(bench.rcpt("b@elsewhere.example") == "ok");
}

TEST_CASE("restrictions: access results in a recipient table", "[restrict]") {
  RestrictBench bench(
      "access_map_reject_code = 553\naccess_map_defer_code = 457\n"
      "smtpd_recipient_restrictions = check_recipient_access inline:{ {r1@dest.example=REJECT},"
      " {r3@dest.example=REJECT 5.2.1 enhanced code}, {r4@dest.example=reject 4.2.1 wrong class}, {n1@dest.example=550},"
      " {n4@dest.example=550 4.1.1 mixed classes}, {n5@dest.example=299 odd code}, {d2@dest.example=DEFER in a while},"
      " {d3@dest.example=DEFER_IF_PERMIT}, {d4@dest.example=DEFER_IF_REJECT maybe}, {f@dest.example=FILTER smtp:x},"
      " {emp@dest.example=FOOBAR}, {map@dest.example=check_client_access cidr:{{0.0.0.0/0 OK}}, permit},"
      " {ten@dest.example=550 5.1.10 no}, {bye@dest.example=421 4.7.0 go away}, {hang@dest.example=HANGUP} }\n");
  bench.mail("a@sender.example");
  const auto rejected = [](const std::string& head, const std::string& who, const std::string& text) {
    return head + " <" + who + "@dest.example>: Recipient address rejected: " + text;
  };
  CHECK(bench.rcpt("r1@dest.example") == rejected("553 5.7.1", "r1", "Access denied"));
  CHECK(bench.rcpt("R3@DEST.example") == "553 5.2.1 <R3@DEST.example>: Recipient address rejected: enhanced code");
  CHECK(bench.rcpt("r4@dest.example") == rejected("553 5.2.1", "r4", "wrong class"));
  CHECK(bench.rcpt("n1@dest.example") == "ok");
  CHECK(bench.rcpt("n4@dest.example") == rejected("550 5.1.1", "n4", "mixed classes"));
  CHECK(bench.rcpt("n5@dest.example") == "451 4.3.5 Server configuration error");
  CHECK(bench.rcpt("d2@dest.example") == rejected("457 4.7.1", "d2", "in a while"));
  CHECK(bench.rcpt("d3@dest.example") == rejected("457 4.7.1", "d3", "Service unavailable"));
  CHECK(bench.rcpt("d4@dest.example") == "ok");
  CHECK(bench.rcpt("f@dest.example") == "ok");
  CHECK(bench.envelope.content_filter == "smtp:x");
  CHECK(bench.rcpt("emp@dest.example") == "451 4.3.5 Server configuration error");
  CHECK(bench.rcpt("map@dest.example") == "451 4.3.5 Server configuration error");
  CHECK(bench.rcpt_verdict("bye@dest.example").action == filter::Action::disconnect);
  CHECK(bench.rcpt_verdict("hang@dest.example").hangup);
}

TEST_CASE("restrictions: a list in a table is judged word by word, as far as it runs", "[restrict]") {
  RestrictBench bench(
      "smtpd_recipient_restrictions = check_recipient_access inline:{ {a@dest.example=REJECT our domain},"
      " {b@dest.example=reject_unknown_client_hostname, REJECT our domain from outside}, {c@dest.example=permit, nonsense},"
      " {d@dest.example=permit_mynetworks, nonsense}, {e@dest.example=sleep}, {f@dest.example=reject_rbl_client},"
      " {g@dest.example=check_policy_service x}, {h@dest.example=warn_if_reject reject, defer} }\n");
  bench.mail("a@s.example");
  const auto rejected = [](const std::string& who, const std::string& text) {
    return "554 5.7.1 <" + who + "@dest.example>: Recipient address rejected: " + text;
  };
  const std::string broken = "451 4.3.5 Server configuration error";
  CHECK(bench.rcpt("a@dest.example") == rejected("a", "our domain"));
  CHECK(bench.rcpt("b@dest.example") == rejected("b", "Access denied"));
  CHECK(bench.rcpt("c@dest.example") == "ok");
  CHECK(bench.rcpt("d@dest.example") == broken);
  CHECK(bench.rcpt("e@dest.example") == broken);
  CHECK(bench.rcpt("f@dest.example") == "ok");
  CHECK(bench.rcpt("g@dest.example") == broken);
  CHECK(bench.rcpt("h@dest.example") == "450 4.3.2 <h@dest.example>: Recipient address rejected: Try again later");
  bench.facts.client_address = "127.0.0.1";
  CHECK(bench.rcpt("d@dest.example") == "ok");
}

TEST_CASE("restrictions: which keys are asked", "[restrict]") {
  RestrictBench bench(
      "recipient_delimiter = +\n"
      "smtpd_client_restrictions = check_client_access inline:{ {b.named.example=REJECT parent of name},"
      " {198.51.100=REJECT three octets}, {203.0.113.7=OK}, {203=REJECT one octet}, {2001:db8=REJECT six} }\n"
      "smtpd_recipient_restrictions = check_recipient_access inline:{ {u+ext@dest.example=REJECT full},"
      " {v@dest.example=REJECT without extension}, {x@=REJECT anywhere}, {y+e@=REJECT with extension} }\n"
      "smtpd_sender_restrictions = check_sender_access inline:{ {<>=450 4.7.2 bounces not now}, {bad.example=REJECT domain} }\n");
  const auto client = [&](const std::string& name, const std::string& address) {
    bench.facts.client_name = name;
    bench.facts.client_address = address;
    bench.mail("a@sender.example");
    const std::string answer = bench.rcpt("b@dest.example");
    const std::size_t text = answer.find("rejected: ");
    return text == std::string::npos ? answer : answer.substr(text + 10);
  };
  CHECK(client("a.b.named.example", "192.0.2.1") == "parent of name");
  CHECK(client("unknown", "198.51.100.7") == "three octets");
  CHECK(client("unknown", "203.0.113.9") == "one octet");
  CHECK(client("unknown", "2001:db8::5") == "six");
  CHECK(client("unknown", "203.0.113.7") == "ok");
  const auto recipient = [&](const std::string& address) {
    const std::string answer = bench.rcpt(address);
    return answer == "ok" ? answer : answer.substr(answer.find("rejected: ") + 10);
  };
  CHECK(recipient("u+ext@dest.example") == "full");
  CHECK(recipient("u+other@dest.example") == "ok");
  CHECK(recipient("v+ext@dest.example") == "without extension");
  CHECK(recipient("x+1@dest.example") == "anywhere");
  CHECK(recipient("y+e@dest.example") == "with extension");
  bench.mail("");
  CHECK(bench.rcpt("b@dest.example") == "450 4.7.2 <>: Sender address rejected: bounces not now");
  bench.mail("x@sub.bad.example");
  CHECK(bench.rcpt("b@dest.example") == "554 5.7.1 <x@sub.bad.example>: Sender address rejected: domain");
}

TEST_CASE("restrictions: deferred decisions and their layers", "[restrict]") {
  const std::string lists =
      "smtpd_helo_restrictions = check_helo_access inline:{ {dip.example=defer_if_permit}, {dir.example=defer_if_reject},"
      " {rej.example=reject}, {def.example=defer}, {ok.example=permit} }\n"
      "smtpd_sender_restrictions = check_sender_access inline:{ {dip@s.example=DEFER_IF_PERMIT service down},"
      " {dir@s.example=DEFER_IF_REJECT 4.3.3 not sure} }\n"
      "smtpd_recipient_restrictions = check_recipient_access inline:{ {rej@dest.example=REJECT 5.7.9 no},"
      " {ok@dest.example=OK}, {both@dest.example=both}, {soft@dest.example=soft} }, reject_unlisted_recipient\n"
      "smtpd_restriction_classes = both, soft\n"
      "both = defer_if_reject, reject\nsoft = warn_if_reject reject, permit\n";
  for (const bool delay : {true, false}) {
    CAPTURE(delay);
    RestrictBench bench(lists + (delay ? "" : "smtpd_delay_reject = no\n"));
    bench.mail("dip@s.example");
    const std::string down = "450 4.7.1 <dip@s.example>: Sender address rejected: service down";
    CHECK(bench.rcpt("b@dest.example") == down);
    CHECK(bench.rcpt("ok@dest.example") == down);
    CHECK(bench.rcpt("rej@dest.example") == "554 5.7.9 <rej@dest.example>: Recipient address rejected: no");
    CHECK(bench.rcpt("b@else.example") == "454 4.7.1 <b@else.example>: Relay access denied");
    bench.mail("dir@s.example");
    CHECK(bench.rcpt("b@dest.example") == "ok");
    CHECK(bench.rcpt("rej@dest.example") == "554 5.7.9 <rej@dest.example>: Recipient address rejected: no");
    CHECK(bench.rcpt("both@dest.example") ==
          "450 4.7.0 <both@dest.example>: Recipient address rejected: defer_if_reject requested");
    CHECK(bench.rcpt("soft@dest.example") == "ok");
    bench.helo("dip.example");
    bench.mail("a@s.example");
    CHECK(bench.rcpt("b@dest.example") == "450 4.7.1 <dip.example>: Helo command rejected: Service unavailable");
    CHECK(bench.rcpt("rej@dest.example") == "554 5.7.9 <rej@dest.example>: Recipient address rejected: no");
    const auto helo = RestrictBench::text(bench.helo("rej.example"));
    CHECK(helo == (delay ? "ok" : "554 5.7.1 <rej.example>: Helo command rejected: Access denied"));
    if (delay) {
      bench.mail("a@s.example");
      CHECK(bench.rcpt("b@dest.example") == "554 5.7.1 <rej.example>: Helo command rejected: Access denied");
      bench.helo("def.example");
      bench.mail("a@s.example");
      CHECK(bench.rcpt("b@dest.example") == "450 4.7.1 <def.example>: Helo command rejected: Access denied");
    }
    bench.helo("ok.example");
    bench.mail("a@s.example");
    CHECK(bench.rcpt("b@dest.example") == "ok");
  }
}

TEST_CASE("restrictions: classes, in classes and in tables", "[restrict]") {
  RestrictBench bench(
      "smtpd_restriction_classes = insiders, gentle, nested, loop\n"
      "insiders = check_sender_access inline:{ {dest.example=OK}, {boss@s.example=OK} }, reject\n"
      "gentle = warn_if_reject reject_non_fqdn_sender, permit\n"
      "nested = check_helo_access inline:{ {nest.example=insiders} }\n"
      "loop = check_recipient_access inline:{loop@dest.example=loop}\n"
      "smtpd_recipient_restrictions = reject_unauth_destination, inline:{ {all@dest.example=insiders},"
      " {soft@dest.example=gentle}, {deep@dest.example=nested}, {loop@dest.example=loop}, {last@dest.example=nested, nested} },"
      " check_recipient_access inline:{ {last@dest.example=REJECT reached the end} }\n");
  bench.helo("nest.example");
  bench.mail("a@short");
  CHECK(bench.rcpt("all@dest.example") == "554 5.7.1 <all@dest.example>: Recipient address rejected: Access denied");
  CHECK(bench.rcpt("soft@dest.example") == "ok");
  CHECK(bench.rcpt("deep@dest.example") == "554 5.7.1 <nest.example>: Helo command rejected: Access denied");
  CHECK(bench.rcpt("loop@dest.example") == "451 4.3.5 Server configuration error");
  bench.helo("client.example");
  bench.mail("boss@s.example");
  CHECK(bench.rcpt("all@dest.example") == "ok");
  CHECK(bench.rcpt("deep@dest.example") == "ok");
  CHECK(bench.rcpt("last@dest.example") == "554 5.7.1 <last@dest.example>: Recipient address rejected: reached the end");
}

TEST_CASE("restrictions: names, addresses and DNS", "[restrict]") {
  RestrictBench bench(
      "smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, reject_unknown_helo_hostname\n"
      "smtpd_sender_restrictions = reject_non_fqdn_sender, reject_unknown_sender_domain\n"
      "smtpd_relay_restrictions = reject_unknown_recipient_domain, reject_unauth_destination\n");
  const auto helo = [&](const std::string& name) {
    bench.helo(name);
    bench.mail("");
    return bench.rcpt("b@local.example");
  };
  CHECK(helo("foo") == "504 5.5.2 <foo>: Helo command rejected: need fully-qualified hostname");
  CHECK(helo("foo..bar") == "501 5.5.2 <foo..bar>: Helo command rejected: Invalid name");
  CHECK(helo("[192.0.2.300]") == "501 5.5.2 <[192.0.2.300]>: Helo command rejected: invalid ip address");
  CHECK(helo("[192.0.2.3]") == "ok");
  CHECK(helo("nosuch.example") == "450 4.7.1 <nosuch.example>: Helo command rejected: Host not found");
  CHECK(helo("tempfail.example") == "450 4.7.1 <tempfail.example>: Helo command rejected: Host not found");
  CHECK(helo("good.example") == "ok");
  const auto sender = [&](const std::string& address) {
    bench.mail(address);
    return bench.rcpt("b@local.example");
  };
  CHECK(sender("x@short") == "504 5.5.2 <x@short>: Sender address rejected: need fully-qualified address");
  CHECK(sender("nodomain") == "504 5.5.2 <nodomain>: Sender address rejected: need fully-qualified address");
  CHECK(sender("x@nosuch.example") == "450 4.1.8 <x@nosuch.example>: Sender address rejected: Domain not found");
  CHECK(sender("x@tempfail.example") == "450 4.1.8 <x@tempfail.example>: Sender address rejected: Domain not found");
  CHECK(sender("x@nullmx.example") ==
        "550 5.7.27 <x@nullmx.example>: Sender address rejected: Domain nullmx.example does not accept mail (nullMX)");
  CHECK(sender("x@[192.0.2.4]") == "ok");
  CHECK(sender("x@good.example") == "ok");
  CHECK(bench.rcpt("b@nullmx.example") ==
        "556 5.1.10 <b@nullmx.example>: Recipient address rejected: Domain nullmx.example does not accept mail (nullMX)");
}

TEST_CASE("restrictions: the client's names", "[restrict]") {
  using Name = filter::SessionFacts::NameStatus;
  RestrictBench bench(
      "smtpd_client_restrictions = permit_mynetworks, reject_unknown_reverse_client_hostname, reject_unknown_client_hostname\n"
      "unknown_client_reject_code = 550\n");
  bench.mail("a@s.example");
  bench.facts.name_status = Name::forged;
  CHECK(bench.rcpt("b@dest.example") == "550 5.7.25 Client host rejected: cannot find your hostname, [192.0.2.10]");
  bench.facts.name_status = Name::temporary;
  CHECK(bench.rcpt("b@dest.example") == "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.10]");
  bench.facts.reverse_name_status = Name::not_found;
  CHECK(bench.rcpt("b@dest.example") == "550 5.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.10]");
}

TEST_CASE("restrictions: DATA, end of data and what changes the message", "[restrict]") {
  RestrictBench bench(
      "smtpd_recipient_restrictions = inline:{ {pre@dest.example=PREPEND X-Rcpt: yes}, {bcc@dest.example=BCC copy@dest.example},"
      " {redir@dest.example=REDIRECT other@dest.example}, {hold@dest.example=HOLD for review}, {disc@dest.example=DISCARD} }\n"
      "smtpd_data_restrictions = reject_multi_recipient_bounce, reject_unauth_pipelining,"
      " check_sender_access inline:{ {data@s.example=REJECT at data}, {dip@s.example=DEFER_IF_PERMIT later} }\n"
      "smtpd_end_of_data_restrictions = check_sender_access inline:{ {eod@s.example=REJECT at end} }\n");
  mime::Message message;
  bench.mail("");
  CHECK(bench.rcpt("b@dest.example") == "ok");
  CHECK(bench.data() == "ok");
  CHECK(bench.rcpt("c@dest.example") == "ok");
  CHECK(bench.data() == "550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce");
  bench.mail("data@s.example");
  CHECK(bench.data() == "554 5.7.1 <data@s.example>: Sender address rejected: at data");
  bench.mail("dip@s.example");
  CHECK(bench.data() == "450 4.7.1 <dip@s.example>: Sender address rejected: later");
  bench.mail("eod@s.example");
  CHECK(bench.content(message) == "554 5.7.1 <eod@s.example>: Sender address rejected: at end");

  bench.mail("a@s.example");
  CHECK(bench.rcpt("pre@dest.example") == "ok");
  CHECK(bench.rcpt("bcc@dest.example") == "ok");
  CHECK(bench.content(message) == "ok");
  REQUIRE(message.headers.size() == 1);
  CHECK(message.headers[0].text() == "X-Rcpt: yes");
  REQUIRE(bench.envelope.recipients.size() == 3);
  CHECK(bench.envelope.recipients[2].address == "copy@dest.example");

  bench.mail("a@s.example");
  CHECK(bench.rcpt("redir@dest.example") == "ok");
  CHECK(bench.rcpt("hold@dest.example") == "ok");
  CHECK(bench.content(message) == "ok");
  CHECK(bench.envelope.hold);
  CHECK(bench.envelope.redirect == "other@dest.example");
  CHECK(message.headers.size() == 1);
  CHECK(bench.rcpt("disc@dest.example") == "discard");
  bench.facts.improper_pipelining = true;
  CHECK(bench.data() == "503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining");
}

TEST_CASE("restrictions: ETRN", "[restrict]") {
  RestrictBench bench(
      "smtpd_etrn_restrictions = permit_mynetworks, inline:{ {dest.example=OK} }, reject\n"
      "smtpd_client_restrictions = inline:{ {192.0.2.66=REJECT} }\n");
  CHECK(bench.etrn("dest.example") == "ok");
  CHECK(bench.etrn("other.example") == "554 5.7.1 <other.example>: Etrn command rejected: Access denied");
  bench.facts.client_address = "192.0.2.66";
  CHECK(bench.etrn("dest.example") == "554 5.7.1 <client.example[192.0.2.66]>: Client host rejected: Access denied");
}

TEST_CASE("restrictions: a script decides, and never permits by mistake", "[restrict]") {
  RestrictBench bench(
      "smtpd_restriction_classes = scripted\nscripted = lua:policy.lua:check\n"
      "smtpd_recipient_restrictions = scripted, check_recipient_access static:{REJECT after}\n");
  CHECK(bench.foreign_kind == "lua");
  bench.mail("a@s.example");
  const auto says = [&](const std::string& action) {
    bench.script->action = action;
    return bench.rcpt("b@dest.example");
  };
  const std::string broken = "451 4.3.5 Server configuration error";
  CHECK(says("dunno") == "554 5.7.1 <b@dest.example>: Recipient address rejected: after");
  CHECK(says("REJECT 5.7.2 by script") == "554 5.7.2 <b@dest.example>: Recipient address rejected: by script");
  CHECK(says("permit") == "ok");
  CHECK(says("OK") == "ok");
  CHECK(says("no such word") == broken);
  CHECK(says("") == broken);
  CHECK(says("!") == broken);
  CHECK(says("check_client_access static:OK") == broken);
}

TEST_CASE("restrictions: a policy service that is not there gives its default action", "[restrict]") {
  test::on_loop([] {
    RestrictBench bench(
        "smtpd_policy_service_retry_delay = 1s\nsmtpd_policy_service_try_limit = 1\n"
        "smtpd_recipient_restrictions = check_policy_service unix:none\n");
    bench.mail("a@s.example");
    CHECK(bench.rcpt("b@dest.example") ==
          "451 4.3.5 <b@dest.example>: Recipient address rejected: Server configuration problem");
  });
}

TEST_CASE("restrictions: a default action that asks the broken service again ends there", "[restrict]") {
  test::on_loop([] {
    RestrictBench bench(
        "smtpd_policy_service_try_limit = 1\nsmtpd_policy_service_default_action = again\n"
        "smtpd_restriction_classes = again\nagain = check_policy_service unix:none\n"
        "smtpd_recipient_restrictions = check_policy_service unix:none\n");
    bench.mail("a@s.example");
    CHECK(bench.rcpt("b@dest.example") ==
          "451 4.3.5 <b@dest.example>: Recipient address rejected: Server configuration problem");
  });
}

TEST_CASE("restrictions: what policy services are told, in Postfix's order", "[restrict]") {
  RestrictBench bench(
      "smtpd_recipient_restrictions = check_lua x\nsmtpd_data_restrictions = check_lua x\n"
      "smtpd_end_of_data_restrictions = check_lua x\n");
  bench.script->action = "dunno";
  const auto seen = [&] {
    std::string out;
    for (const auto& [name, value] : bench.script->seen) {
      const auto* text = std::get_if<std::string>(&value);
      const bool unpredictable = name == "instance" && text != nullptr && !text->empty();
      out += name + "=" + (unpredictable ? "X" : text != nullptr ? *text : std::to_string(std::get<std::int64_t>(value))) + ";";
    }
    return out;
  };
  const auto expected = [](const std::string& state, const std::string& recipient, int count, const std::string& id, int size) {
    return "request=smtpd_access_policy;protocol_state=" + state +
           ";protocol_name=ESMTP;client_address=192.0.2.10;client_name=client.example;client_port=;"
           "reverse_client_name=client.example;server_address=;server_port=;helo_name=client.example;"
           "sender=a@s.example;recipient=" + recipient + ";recipient_count=" + std::to_string(count) + ";queue_id=" + id +
           ";instance=X;size=" + std::to_string(size) +
           ";etrn_domain=;stress=;sasl_method=;sasl_username=;sasl_sender=;ccert_subject=;ccert_issuer=;"
           "ccert_fingerprint=;ccert_pubkey_fingerprint=;encryption_protocol=;encryption_cipher=;encryption_keysize=0;"
           "policy_context=;";
  };
  bench.helo("client.example");
  bench.mail("a@s.example");
  bench.envelope.size = 200;
  bench.rcpt("b@dest.example");
  CHECK(seen() == expected("RCPT", "b@dest.example", 0, "", 200));
  bench.envelope.queue_id = "4ABC";
  bench.data();
  CHECK(seen() == expected("DATA", "b@dest.example", 1, "4ABC", 200));
  bench.rcpt("c@dest.example");
  mime::Message message;
  message.headers.push_back(mime::Header::make("Received", "by us"));
  message.headers.back().own_received = true;
  message.headers.push_back(mime::Header::make("Subject", "x"));
  REQUIRE(message.body.append("x\r\n"));
  bench.content(message);
  CHECK(seen() == expected("END-OF-MESSAGE", "", 2, "4ABC", 17));
}
