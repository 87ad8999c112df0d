// The rows are what Postfix 3.7's smtpd and trivial-rewrite answered for the same configuration.
#include <catch2/catch.hpp>

#include "core/rewrite/router.h"

using namespace millrace;
using rewrite::Router;

namespace {

constexpr const char* kBase = R"(
compatibility_level = 3.6
myhostname = mx.mill.example
mydomain = mill.example
mydestination =
local_recipient_maps =
alias_maps =
relay_domains = dest.example
inet_interfaces = 127.0.0.1, 192.0.2.1
inet_protocols = ipv4
default_transport = smtp:[127.0.0.1]:2525
relay_transport = relay:[127.0.0.1]:2525
)";
constexpr const char* kClasses = R"(
mydestination = local.example, localhost
myorigin = mill.example
append_dot_mydomain = yes
virtual_alias_domains = va.example
virtual_alias_maps = inline:{known@va.example=x@dest.example}
virtual_mailbox_domains = vm.example
virtual_mailbox_maps = inline:{{user@vm.example = x}, {@all.vm.example=y}}
relay_recipient_maps = inline:{{b@dest.example = x}, {ext+a@dest.example=y}, {@sub.dest.example=x}}
local_recipient_maps = inline:{{luser=x}}
recipient_delimiter = +
)";

std::shared_ptr<Router> router(const std::string& main_cf) {
  static map::TableSet tables({});
  config::Findings findings;
  const auto config = config::Config::from_text(kBase + main_cf, "", findings);
  auto made = Router::make(config, config->params(), tables);
  if (!made) FAIL(made.error().context);
  return *made;
}

std::string route(const Router& router, std::string_view recipient) {
  const auto route = router.resolve(recipient, "");
  if (!route) return "(error)";
  return std::string(class_name(route->address_class)) + "|" + route->recipient + "|" + route->transport + "|" + route->nexthop;
}

}  // namespace

TEST_CASE("router: classes, syntax and who is known", "[rewrite][router]") {
  static const auto r = router(kClasses);
  struct Case { const char *address; const char* answer; };   // "syntax", "ok", "denied", or the reply's text
  const auto one = GENERATE(values<Case>({
      {"a@-sender.example", "syntax"}, {"a@sender-.example", "syntax"}, {"a@sen_der.example", "denied"}, {"-a@sender.example", "syntax"},
      {"a@1.2.3.4", "syntax"}, {"a@1.2.3", "syntax"}, {"a@[IPv6:2001:db8::1]", "denied"}, {"a@[2001:db8::1]", "syntax"},
      {"a@[ipv6:::1]", "denied"}, {"a@[127.0.0.1]", "User unknown in local recipient table"}, {"luser@[192.0.2.1]", "ok"},
      {"luser@local.example", "ok"}, {"luser@local.example.", "ok"}, {"luser@local.example..", "syntax"}, {"luser+foo@local.example", "ok"},
      {"unknown@local.example", "User unknown in local recipient table"}, {"postmaster@local.example", "ok"},
      {"postmasterx@local.example", "User unknown in local recipient table"}, {"double-bounce@local.example", "ok"},
      {"MAILER-DAEMON@local.example", "ok"}, {"luser@localhost", "denied"}, {"known@va.example", "ok"}, {"known+x@va.example", "ok"},
      {"unknown@va.example", "5.1.1 User unknown in virtual alias table"}, {"user@vm.example", "ok"}, {"USER+x@VM.example", "ok"},
      {"nouser@vm.example", "User unknown in virtual mailbox table"}, {"b@dest.example", "ok"}, {"b+q@dest.example", "ok"},
      {"ext+a@dest.example", "ok"}, {"ext+b@dest.example", "User unknown in relay recipient table"}, {"zz@sub.dest.example", "ok"},
      {"b%dest.example@local.example", "ok"}, {"b%dest.example", "ok"}, {"dest.example!b", "ok"}, {"dest.example!b@local.example", "ok"},
      {"b%other.example@local.example", "denied"}, {"b@dest.example@local.example", "ok"}, {"b@other.example@local.example", "denied"},
      {"@local.example", "ok"}, {"@dest.example", "User unknown in relay recipient table"}, {"b@dest", "denied"},
      {"b@.dest.example", "syntax"}, {"b@@dest.example", "denied"}, {"b.@dest.example", "User unknown in relay recipient table"},
      {"b c@dest.example", "User unknown in relay recipient table"}, {"b@x@dest.example", "denied"}, {"b!c%d@dest.example", "denied"},
      {"luser!c@local.example", "denied"}, {".@dest.example", "User unknown in relay recipient table"},
      {"a:b@dest.example", "User unknown in relay recipient table"}, {"b@dest.example:25", "syntax"}, {"b@*.dest.example", "syntax"},
      {"a@", "syntax"}, {"@", "syntax"}, {"", "ok"},
  }));
  CAPTURE(one.address);
  std::string answer = "syntax";
  if (r->is_deliverable_syntax(one.address)) {
    int code = 0;
    const auto text = r->unlisted(one.address, Router::Role::recipient, "", &code);
    REQUIRE(text);
    const auto auth = r->is_auth_destination(one.address);
    REQUIRE(auth);
    answer = !*auth ? "denied" : text->empty() ? "ok" : *text;
    if (*auth && !text->empty()) CHECK(code == 550);
  }
  CHECK(answer == one.answer);
}

TEST_CASE("router: transports and next hops", "[rewrite][router]") {
  const auto r = router(std::string(kClasses) + "relayhost = [relay.example]:587\nlocal_transport = local:$myhostname\ndefault_transport = smtp\n"
                                                "relay_transport = relay\n");
  CHECK(route(*r, "luser@local.example") == "local|luser@local.example|local|mx.mill.example");
  CHECK(route(*r, "a@va.example") == "virtual alias|a@va.example|error|5.1.1 User unknown in virtual alias table");
  CHECK(route(*r, "a@vm.example") == "virtual mailbox|a@vm.example|virtual|vm.example");
  CHECK(route(*r, "a@dest.example") == "relay|a@dest.example|relay|[relay.example]:587");
  CHECK(route(*r, "a@else.example") == "default|a@else.example|smtp|[relay.example]:587");
  CHECK(route(*r, "a@b..c") == "default|a@b..c|error|5.1.3 bad address syntax");
  CHECK(route(*router(""), "a@else.example") == "default|a@else.example|smtp|[127.0.0.1]:2525");
  CHECK(route(*router("default_transport = smtp"), "a@Else.example") == "default|a@Else.example|smtp|Else.example");
}

TEST_CASE("router: transport_maps, in transport(5)'s order", "[rewrite][router]") {
  const auto r = router(R"(
recipient_delimiter = +
relay_domains = dest.example, sub.example, other.example
transport_maps = inline:{{special@dest.example = smtp:[127.0.0.1]:2626}, {dest.example = :}, {.sub.example = smtp:[127.0.0.1]:2626},
  {sub.example = relay:[127.0.0.1]:2525}, {err@other.example = error:5.7.1 closed for mail}, {soft@other.example = retry:4.3.2 later please},
  {gone@other.example = discard:silently}, {nx@other.example = :[127.0.0.1]:2626}, {slow.example = slow:}, {* = wild:}}
)");
  CHECK(route(*r, "special@dest.example") == "relay|special@dest.example|smtp|[127.0.0.1]:2626");
  CHECK(route(*r, "special+ext@dest.example") == "relay|special+ext@dest.example|smtp|[127.0.0.1]:2626");
  CHECK(route(*r, "b@dest.example") == "relay|b@dest.example|relay|[127.0.0.1]:2525");
  CHECK(route(*r, "b@x.y.sub.example") == "relay|b@x.y.sub.example|smtp|[127.0.0.1]:2626");
  CHECK(route(*r, "b@sub.example") == "relay|b@sub.example|relay|[127.0.0.1]:2525");
  CHECK(route(*r, "nx@other.example") == "relay|nx@other.example|relay|[127.0.0.1]:2626");
  CHECK(route(*r, "gone@other.example") == "relay|gone@other.example|discard|silently");
  CHECK(route(*r, "a@slow.example") == "default|a@slow.example|slow|slow.example");
  CHECK(route(*r, "a@any.example") == "default|a@any.example|wild|any.example");
  int code = 0;
  CHECK(r->unlisted("err@other.example", Router::Role::recipient, "", &code).value() == "5.7.1 closed for mail");
  CHECK(code == 550);
  CHECK(r->unlisted("soft@other.example", Router::Role::recipient, "", &code).value() == "4.3.2 later please");
  CHECK(code == 450);
  const auto parents = router("parent_domain_matches_subdomains = transport_maps\ntransport_maps = inline:{example=x:}\n");
  CHECK(route(*parents, "a@b.c.example") == "default|a@b.c.example|x|b.c.example");
  const auto pattern = router("transport_maps = pcre:{{/^a@b.example$$/ x:}, {/^b.example$$/ y:}, {/^\\*$$/ z:}}\n");
  CHECK(route(*pattern, "a@b.example") == "default|a@b.example|x|b.example");
  CHECK(route(*pattern, "c@b.example") == "default|c@b.example|smtp|[127.0.0.1]:2525");
}

TEST_CASE("router: a table that fails is an error, never an answer", "[rewrite][router]") {
  const auto r = router("relay_domains = fail:x\ntransport_maps = fail:y\n");
  CHECK_FALSE(r->resolve("a@b.example", ""));
  CHECK_FALSE(r->is_auth_destination("a@b.example"));
  CHECK_FALSE(r->unlisted("a@b.example", Router::Role::recipient, "", nullptr));
  CHECK_FALSE(router("relay_recipient_maps = fail:x")->unlisted("a@dest.example", Router::Role::recipient, "", nullptr));
  CHECK_FALSE(router("mydestination = fail:x")->is_local_domain("a.example"));
  CHECK(router("transport_maps = fail:x")->is_deliverable_syntax("a@b.example"));
}

TEST_CASE("router: what cannot be used is refused with the parameter's name", "[rewrite][router]") {
  map::TableSet tables({});
  const auto why = [&](const std::string& text) {
    config::Findings findings;
    const auto config = config::Config::from_text(kBase + text, "", findings);
    const auto made = Router::make(config, config->params(), tables);
    return made ? std::string("(made)") : made.error().context;
  };
  CHECK(why("transport_maps = ldap:x") == "transport_maps: \"ldap:x\": tables of type ldap are not supported: they will be plugins; "
        "socketmap: can stand for them");
  CHECK(why("relay_domains = hash:/nowhere").find("relay_domains: open database /nowhere.lmdb") == 0);
  CHECK(why("default_transport = :x") == "default_transport: null transport is not allowed");
}

TEST_CASE("router: untrusted routing is relayed only where allowed", "[rewrite][router]") {
  CHECK_FALSE(router("")->is_auth_destination("a%b@dest.example").value());
  CHECK(router("allow_untrusted_routing = yes")->is_auth_destination("a%b@dest.example").value());
  CHECK_FALSE(router("swap_bangpath = no\nallow_percent_hack = no")->is_auth_destination("x!a@dest.example").value());
  CHECK_FALSE(router("")->is_auth_destination("postmaster").value());
  CHECK(router("mydestination = $myhostname")->is_auth_destination("postmaster").value());
}

TEST_CASE("router: rewriting keeps the internal form", "[rewrite][router]") {
  const auto r = router("");
  CHECK(r->rewrite("") == "");
  CHECK(r->rewrite("a") == "a@mx.mill.example");
  CHECK(r->rewrite("a  b@c.example.") == "a  b@c.example");
  CHECK(r->rewrite("a%b") == "a@b");
  CHECK(r->rewrite("a\"b@c") == "a\"b@c");
}

TEST_CASE("router: the sender chooses transport and relay host", "[rewrite][router]") {
  const auto r = router(R"(
relay_domains = relay.example
relayhost = [relay]:25
default_transport = smtp
recipient_delimiter = +
sender_dependent_relayhost_maps = inline:{{joe@a.example=[joe]}, {@b.example=[b]:26}, {d@c.example=dunno}, {n@c.example=}, {<>=[null]}}
sender_dependent_default_transport_maps = inline:{{@t.example=slow:[t]}, {u@u.example=slow}, {d@t.example=DUNNO}, {<>=bounces:}}
)");
  const auto by = [&](const char* to, const char* from) {
    const auto route = r->resolve(to, from);
    return route ? route->transport + "|" + route->nexthop : "(error)";
  };
  CHECK(by("x@far.example", "somebody@x.example") == "smtp|[relay]:25");
  CHECK(by("x@far.example", "joe@a.example") == "smtp|[joe]");
  CHECK(by("x@far.example", "joe+ext@A.Example") == "smtp|[joe]");
  CHECK(by("x@far.example", "any@b.example") == "smtp|[b]:26");
  CHECK(by("x@far.example", "d@c.example") == "smtp|far.example");     // DUNNO: not even relayhost
  CHECK(by("x@far.example", "n@c.example") == "smtp|far.example");     // a null result counts as DUNNO
  CHECK(by("x@far.example", "") == "bounces|[null]");
  // The transport's own next hop wins over any relay host; DUNNO leaves default_transport.
  CHECK(by("x@far.example", "a@t.example") == "slow|[t]");
  CHECK(by("x@far.example", "u@u.example") == "slow|[relay]:25");
  CHECK(by("x@far.example", "d@t.example") == "smtp|[relay]:25");
  // Relay domains have a transport of their own, whose next hop wins here, too.
  CHECK(by("x@relay.example", "a@t.example") == "relay|[127.0.0.1]:2525");
}

TEST_CASE("router: sender-dependent tables that fail, or answer nonsense, defer", "[rewrite][router]") {
  CHECK_FALSE(router("sender_dependent_relayhost_maps = fail:x")->resolve("a@far.example", "b@c.example"));
  CHECK_FALSE(router("sender_dependent_default_transport_maps = fail:x")->resolve("a@far.example", "b@c.example"));
  CHECK_FALSE(router("sender_dependent_default_transport_maps = static::x")->resolve("a@far.example", "b@c.example"));
  // Neither is asked for mail that stays in our own classes.
  CHECK(router("sender_dependent_default_transport_maps = fail:x")->resolve("a@dest.example", "b@c.example"));
}

TEST_CASE("router: a sender's transport is what unlisted goes by", "[rewrite][router]") {
  const auto r = router("sender_dependent_default_transport_maps = inline:{{bad@x.example=error:5.7.1 not you}}");
  int code = 0;
  CHECK(r->unlisted("a@far.example", Router::Role::recipient, "bad@x.example", &code).value() == "5.7.1 not you");
  CHECK(code == 550);
  CHECK(r->unlisted("a@far.example", Router::Role::recipient, "good@x.example", &code).value().empty());
}

TEST_CASE("router: a sender may be known by its canonical mapping alone", "[rewrite][router]") {
  const auto r = router("sender_canonical_maps = inline:{{old@dest.example=new@dest.example}}\nrelay_recipient_maps = inline:{{b@dest.example=x}}");
  CHECK(r->unlisted("old@dest.example", Router::Role::sender, "", nullptr).value().empty());
  CHECK(r->unlisted("old@dest.example", Router::Role::recipient, "", nullptr).value() == "User unknown in relay recipient table");
}

TEST_CASE("router: probes go by parameters of their own", "[rewrite][router]") {
  const auto r = router(R"(
relayhost = [relay]
address_verify_relayhost =
address_verify_default_transport = direct
address_verify_transport_maps = inline:{{there.example=probe:[p]}}
)");
  const auto probe = r->resolve_probe("a@far.example", "");
  REQUIRE(probe);
  CHECK(probe->transport == "direct");
  CHECK(probe->nexthop == "far.example");
  CHECK(r->resolve_probe("a@there.example", "")->transport == "probe");
  CHECK(r->resolve("a@there.example", "")->transport == "smtp");
}

TEST_CASE("router: null and numeric domains, addresses with a hyphen", "[rewrite][router]") {
  CHECK_FALSE(router("")->is_deliverable_syntax("a@"));
  CHECK(route(*router("resolve_null_domain = yes\nmydestination = mx.mill.example"), "a@") == "local|a@mx.mill.example|local|mx.mill.example");
  CHECK_FALSE(router("")->is_deliverable_syntax("a@198.51.100.9"));
  CHECK(route(*router("resolve_numeric_domain = yes"), "a@198.51.100.9") == "default|a@[198.51.100.9]|smtp|[127.0.0.1]:2525");
  CHECK(route(*router("resolve_numeric_domain = yes"), "a@192.0.2.1") == "local|a@[192.0.2.1]|local|mx.mill.example");
  CHECK(route(*router("allow_min_user = yes"), "-a@far.example") == "default|-a@far.example|smtp|[127.0.0.1]:2525");
}

TEST_CASE("router: relocated_maps answers in every class", "[rewrite][router][relocated]") {
  const auto r = router(R"(
mydestination = local.example
virtual_alias_domains = va.example
virtual_mailbox_domains = vm.example
recipient_delimiter = +
relocated_maps = inline:{{old@dest.example=new@far.example}, {local=elsewhere}, {@gone.example=nobody here}, {a@va.example=x@y.example}, {a@vm.example=z}}
)");
  CHECK(route(*r, "old@dest.example") == "relay|old@dest.example|error|5.1.6 User has moved to new@far.example");
  CHECK(route(*r, "old+ext@dest.example") == "relay|old+ext@dest.example|error|5.1.6 User has moved to new@far.example");
  CHECK(route(*r, "OLD@DEST.example") == "relay|OLD@DEST.example|error|5.1.6 User has moved to new@far.example");
  CHECK(route(*r, "local@local.example") == "local|local@local.example|error|5.1.6 User has moved to elsewhere");
  CHECK(route(*r, "local@dest.example") == "relay|local@dest.example|relay|[127.0.0.1]:2525");
  CHECK(route(*r, "any@gone.example") == "default|any@gone.example|error|5.1.6 User has moved to nobody here");
  CHECK(route(*r, "a@vm.example") == "virtual mailbox|a@vm.example|error|5.1.6 User has moved to z");
  int code = 0;
  CHECK(r->unlisted("old@dest.example", Router::Role::recipient, "", &code).value() == "5.1.6 User has moved to new@far.example");
  CHECK(code == 550);
  CHECK(r->unlisted("a@va.example", Router::Role::recipient, "", &code).value() == "5.1.6 User has moved to x@y.example");
  CHECK(r->unlisted("b@va.example", Router::Role::recipient, "", &code).value() == "5.1.1 User unknown in virtual alias table");
  // A table that fails is no answer, and what aliases rewrite has not moved.
  CHECK_FALSE(router("relocated_maps = fail:x")->resolve("a@dest.example", ""));
  CHECK(router("relocated_maps = static:x\nvirtual_alias_maps = inline:{{a@dest.example=b@c}}")
            ->unlisted("a@dest.example", Router::Role::recipient, "", nullptr).value().empty());
}

TEST_CASE("router: what a quoted local part hides is seen, and nothing of it is lost", "[rewrite][router]") {
  const auto r = router("mydestination = local.example\nmyorigin = mill.example");
  // A comment to some, routing to others: the next host may see the latter.
  CHECK_FALSE(r->is_auth_destination("a(c@d)b@dest.example").value());
  CHECK(r->is_auth_destination("a(c)b@dest.example").value());
  CHECK(route(*r, "a(b)c@dest.example") == "relay|a(b)c@dest.example|relay|[127.0.0.1]:2525");
  CHECK(route(*r, "x  y@dest.example") == "relay|x  y@dest.example|relay|[127.0.0.1]:2525");
  CHECK(route(*r, "u@far.example@local.example") == "default|u@far.example|smtp|[127.0.0.1]:2525");
  CHECK(route(*r, "u%far.example@local.example") == "default|u@far.example|smtp|[127.0.0.1]:2525");
  CHECK(route(*r, "far.example!u@local.example") == "default|u@far.example|smtp|[127.0.0.1]:2525");
  CHECK(route(*r, "@local.example") == "local|MAILER-DAEMON@local.example|local|mx.mill.example");
}
