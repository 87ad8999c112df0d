// Words that ask DNS: lists, servers of a domain, permit_mx_backup; answers as Postfix 3.7 gives them.
#include "tests/unit/restrict/bench.h"

using namespace millrace;
using net::DnsType;
using test::RestrictBench;

TEST_CASE("restrictions: DNS lists of addresses", "[restrict][dnsbl]") {
  RestrictBench bench(
      "smtpd_recipient_restrictions = permit_dnswl_client white.example, reject_rbl_client rbl.example=127.0.0.[2..4],"
      " reject_rbl_client other.example, check_recipient_access inline:{ {b@dest.example=x}, {class@dest.example=x} }\n"
      "smtpd_restriction_classes = x\nx = reject_rbl other.example\n");
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") == "ok");
  bench.resolver.a("10.2.0.192.rbl.example", "127.0.0.9");
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") == "ok");
  bench.resolver.a("10.2.0.192.rbl.example", "127.0.0.3");
  CHECK(bench.rcpt("b@dest.example") == "ok");   // what was asked for one recipient holds for the message
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") ==
        "554 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using rbl.example");
  bench.resolver.give("10.2.0.192.rbl.example", DnsType::txt, {"see http://rbl.example/", "and\x01more"});
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") ==
        "554 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using rbl.example; "
        "see http://rbl.example/ / and_more");
  bench.resolver.a("10.2.0.192.white.example", "127.0.0.1");
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") == "ok");
  CHECK(bench.rcpt("b@elsewhere.example") == "454 4.7.1 <b@elsewhere.example>: Relay access denied");
  // A list that refuses us, or does not answer, lists nobody.
  bench.facts.client_address = "192.0.2.11";
  bench.resolver.a("11.2.0.192.other.example", "127.255.255.254");
  bench.resolver.temporary("11.2.0.192.rbl.example");
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") == "ok");
  bench.facts.client_address = "2001:db8::5";
  bench.resolver.a("5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.rbl.example", "127.0.0.2");
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example").find("Client host [2001:db8::5] blocked") != std::string::npos);
}

TEST_CASE("restrictions: a list of good clients never opens the relay, and its silence puts refusals off", "[restrict][dnsbl]") {
  RestrictBench bench(
      "smtpd_relay_restrictions = permit_dnswl_client white.example, permit_rhswl_client white.example,"
      " reject_unauth_destination\n"
      "smtpd_recipient_restrictions = permit_dnswl_client white.example, permit_rhswl_client white.example, reject\n");
  bench.resolver.a("10.2.0.192.white.example", "127.0.0.1");
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") == "ok");
  CHECK(bench.rcpt("b@elsewhere.example") == "554 5.7.1 <b@elsewhere.example>: Relay access denied");
  bench.facts.client_address = "192.0.2.11";
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") == "554 5.7.1 <b@dest.example>: Recipient address rejected: Access denied");
  bench.resolver.a("client.example.white.example", "127.0.0.1");
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") == "ok");
  bench.facts.client_name = "other.example";
  bench.resolver.temporary("11.2.0.192.white.example");
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") == "450 4.7.1 <192.0.2.11>: Client host rejected: Service unavailable");
}

TEST_CASE("restrictions: DNS lists of domains", "[restrict][dnsbl]") {
  RestrictBench bench(
      "smtpd_recipient_restrictions = reject_rhsbl_client c.example, reject_rhsbl_reverse_client r.example,"
      " reject_rhsbl_helo h.example, reject_rhsbl_sender s.example=127.0.0.2, reject_rhsbl_recipient t.example\n"
      "maps_rbl_reject_code = 571\n");
  for (const char* name : {"bad.example.c.example", "rev.example.r.example", "bad.example.h.example",
                           "bad.example.s.example", "dest.example.t.example", "unknown.c.example", "unknown.r.example",
                           "[192.0.2.1].h.example", "10.2.0.192.h.example"}) {
    bench.resolver.a(name, "127.0.0.2");
  }
  const auto answer = [&](const std::string& helo, const std::string& sender, const std::string& recipient) {
    bench.helo(helo);
    bench.mail(sender);
    return bench.rcpt(recipient);
  };
  const auto blocked = [](const std::string& what, const std::string& zone) {
    return "571 5.7.1 Service unavailable; " + what + " blocked using " + zone;
  };
  CHECK(answer("good.example", "a@good.example", "b@local.example") == "ok");
  CHECK(answer("bad.example", "a@good.example", "b@local.example") == blocked("Helo command [bad.example]", "h.example"));
  CHECK(answer("[192.0.2.1]", "a@bad.example", "b@local.example") == blocked("Sender address [a@bad.example]", "s.example"));
  CHECK(answer("192.0.2.10", "", "b@local.example") == "ok");
  CHECK(answer("good.example", "a@sub.bad.example", "b@dest.example") ==
        blocked("Recipient address [b@dest.example]", "t.example"));
  bench.facts.reverse_client_name = "rev.example";
  CHECK(answer("good.example", "", "b@local.example") == blocked("Unverified Client host [rev.example]", "r.example"));
  bench.facts.client_name = "bad.example";
  CHECK(answer("good.example", "", "b@local.example") == blocked("Client host [bad.example]", "c.example"));
  bench.facts.client_name = bench.facts.reverse_client_name = "unknown";
  CHECK(answer("good.example", "", "b@local.example") == "ok");
}

TEST_CASE("restrictions: what a DNS list is answered with", "[restrict][dnsbl]") {
  const auto reply = [](const std::string& main_cf, const std::string& sender = "a@s.example") {
    RestrictBench bench("smtpd_recipient_restrictions = reject_rbl_client rbl.example=127.0.0.2\n" + main_cf);
    bench.resolver.a("10.2.0.192.rbl.example", "127.0.0.2");
    bench.resolver.give("10.2.0.192.rbl.example", DnsType::txt, {"because"});
    bench.helo("helo.example");
    bench.mail(sender);
    return bench.rcpt("b@dest.example");
  };
  CHECK(reply("rbl_reply_maps = inline:{ { rbl.example=127.0.0.2 = $rbl_code 5.7.2 $client $helo_name $sender_name at "
              "$sender_domain to $recipient: $rbl_txt } }\n").find("554 5.7.2") == std::string::npos);   // the key ends at the first =
  CHECK(reply("default_rbl_reply = 550 5.7.2 $client $reverse_client_name $helo_name $sender_name at $sender_domain to $recipient "
              "by $rbl_domain: $rbl_txt ${rbl_reason?yes}\n") ==
        "550 5.7.2 client.example[192.0.2.10] client.example helo.example a at s.example to b@dest.example by rbl.example: because yes");
  CHECK(reply("default_rbl_reply = 450 $sender $sender_name $sender_domain.\n", "") == "450 4.7.1 <> <> .");
  CHECK(reply("default_rbl_reply = 450\n") == "450 4.7.1 Service unavailable");
  CHECK(reply("default_rbl_reply = 250 Ok\n") == "450 4.7.1 Service unavailable");
  CHECK(reply("default_rbl_reply = 550 $nonsense\n") == "450 4.7.1 Service unavailable");
  CHECK(reply("rbl_reply_maps = regexp:{ {/^rbl\\.example=127/ $$$$nonsense} }\n") ==
        "554 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using rbl.example; because");
  CHECK(reply("rbl_reply_maps = regexp:{ {/^rbl\\.example=127\\.0\\.0\\.2/ 521 5.3.2 by table} }\n") == "521 5.3.2 by table");
  CHECK(reply("smtpd_expansion_filter = abcdefghijklmnopqrstuvwxyz\ndefault_rbl_reply = 550 $rbl_what.\n") ==
        "550 5.7.1 __________.");
  CHECK(reply("soft_bounce = yes\n").find("454 4.7.1 Service unavailable; Client host") == 0);
}

TEST_CASE("restrictions: reject_maps_rbl asks all of maps_rbl_domains", "[restrict][dnsbl]") {
  RestrictBench bench("maps_rbl_domains = one.example, two.example\nsmtpd_client_restrictions = reject_maps_rbl\n");
  bench.resolver.a("10.2.0.192.two.example", "127.0.0.2");
  bench.mail("a@s.example");
  CHECK(bench.rcpt("b@dest.example") == "554 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using two.example");
}

TEST_CASE("restrictions: tables of name servers, exchangers and addresses", "[restrict][servers]") {
  RestrictBench bench(
      "smtpd_helo_restrictions = check_helo_ns_access inline:{ {evil.example=REJECT ns}, {ok.example=OK} },"
      " check_helo_a_access cidr:{ {198.51.100.9/32 REJECT address} }\n"
      "smtpd_sender_restrictions = check_sender_mx_access inline:{ {198.51=REJECT mx}, {mx.bad.example=REJECT name} }\n"
      "smtpd_recipient_restrictions = check_client_ns_access inline:{ {ns.evil.example=REJECT client} }\n");
  auto& dns = bench.resolver;
  dns.give("nsbad.example", DnsType::ns, {"ns.evil.example"});
  dns.give("nsok.example", DnsType::ns, {"ns.ok.example"});
  dns.a("addr.example", "198.51.100.9");
  dns.mx("mxaddr.example", {{10, "m.mxaddr.example"}});
  dns.a("m.mxaddr.example", "198.51.7.7");
  dns.mx("mxname.example", {{10, "mx.bad.example"}});
  dns.a("plain.example", "198.51.8.8");
  const auto answer = [&](const std::string& helo, const std::string& sender) {
    bench.helo(helo);
    bench.mail(sender);
    return bench.rcpt("b@dest.example");
  };
  CHECK(answer("good.example", "a@good.example") == "ok");
  CHECK(answer("deep.sub.nsbad.example", "a@good.example") ==
        "554 5.7.1 <deep.sub.nsbad.example>: Helo command rejected: ns");
  CHECK(answer("nsok.example", "a@good.example") == "451 4.3.5 Server configuration error");
  CHECK(answer("addr.example", "a@good.example") == "554 5.7.1 <addr.example>: Helo command rejected: address");
  CHECK(answer("198.51.100.9", "a@good.example") == "554 5.7.1 <198.51.100.9>: Helo command rejected: address");
  CHECK(answer("[198.51.100.9]", "a@good.example") == "554 5.7.1 <[198.51.100.9]>: Helo command rejected: address");
  CHECK(answer("good.example", "a@mxaddr.example") == "554 5.7.1 <a@mxaddr.example>: Sender address rejected: mx");
  CHECK(answer("good.example", "a@mxname.example") == "554 5.7.1 <a@mxname.example>: Sender address rejected: name");
  CHECK(answer("good.example", "a@plain.example") == "554 5.7.1 <a@plain.example>: Sender address rejected: mx");
  CHECK(answer("good.example", "a@[198.51.1.1]") == "554 5.7.1 <a@[198.51.1.1]>: Sender address rejected: mx");
  CHECK(answer("good.example", "a@nullmx.example") == "ok");
  CHECK(answer("good.example", "a@tempfail.example") == "ok");
  CHECK(answer("good.example", "") == "ok");
  dns.give("client.example", DnsType::ns, {"ns.evil.example"});
  CHECK(answer("good.example", "") == "554 5.7.1 <client.example[192.0.2.10]>: Client host rejected: client");
}

TEST_CASE("restrictions: permit_mx_backup", "[restrict][servers]") {
  RestrictBench bench(
      "inet_interfaces = 192.0.2.1\nproxy_interfaces = 192.0.2.2\npermit_mx_backup_networks = 192.0.2.0/24\n"
      "smtpd_relay_restrictions = permit_mx_backup, reject_unauth_destination\n");
  auto& dns = bench.resolver;
  dns.mx("backup.example", {{10, "mx.backup.example"}, {20, "mx.mill.example"}});
  dns.a("mx.backup.example", "192.0.2.200");
  dns.mx("proxied.example", {{10, "mx.backup.example"}, {20, "front.example"}});
  dns.a("front.example", "192.0.2.2");
  dns.mx("far.example", {{10, "mx.far.example"}, {20, "mx.mill.example"}});
  dns.a("mx.far.example", "198.51.100.200");
  dns.mx("primary.example", {{10, "mx.mill.example"}, {20, "mx.backup.example"}});
  dns.mx("notours.example", {{10, "mx.backup.example"}});
  dns.mx("lost.example", {{10, "nowhere.example"}, {20, "mx.mill.example"}});
  dns.a("alias.example", "192.0.2.1");
  bench.mail("a@s.example");
  const auto denied = [](const std::string& who) { return "554 5.7.1 <" + who + ">: Relay access denied"; };
  const auto deferred = [](const std::string& who, const std::string& why) {
    return "450 4.4.4 <" + who + ">: Recipient address rejected: Unable to look up " + why;
  };
  CHECK(bench.rcpt("b@dest.example") == "ok");
  CHECK(bench.rcpt("b@backup.example") == "ok");
  CHECK(bench.rcpt("b@proxied.example") == "ok");
  CHECK(bench.rcpt("b@alias.example") == denied("b@alias.example"));
  CHECK(bench.rcpt("b%else.example@backup.example") == denied("b%else.example@backup.example"));
  CHECK(bench.rcpt("b@far.example") == denied("b@far.example"));
  CHECK(bench.rcpt("b@primary.example") == denied("b@primary.example"));
  CHECK(bench.rcpt("b@notours.example") == denied("b@notours.example"));
  CHECK(bench.rcpt("b@nullmx.example") == denied("b@nullmx.example"));
  CHECK(bench.rcpt("b@tempfail.example") ==
        deferred("b@tempfail.example", "mail exchanger information: Host not found, try again"));
  CHECK(bench.rcpt("b@nosuch.example") == denied("b@nosuch.example"));
  CHECK(bench.rcpt("b@lost.example") ==
        deferred("b@lost.example", "mail exchanger host nowhere.example: Name or service not known"));
}
