#include <sys/wait.h>
#include <sysexits.h>

#include <catch2/catch.hpp>

#include "core/local/command_spec.h"
#include "core/local/exec.h"
#include "core/local/exit_status.h"
#include "core/local/identity.h"
#include "core/local/pipe_macros.h"

using namespace millrace;
using namespace millrace::local;

namespace {

std::string problem(const std::vector<std::string>& arguments, SpecKind kind = SpecKind::pipe) {
  const auto spec = parse_command_spec(arguments, kind);
  return spec ? "" : spec.error().context;
}

std::string expanded(const std::string& flags, std::vector<std::string> argv, const std::string& sender = "Se nder@S.example") {
  std::vector<std::string> arguments = {"flags=" + flags, "user=x", "argv=" + argv.front()};
  arguments.insert(arguments.end(), argv.begin() + 1, argv.end());
  const auto spec = parse_command_spec(arguments, SpecKind::pipe);
  REQUIRE(spec);
  PipeFacts facts;
  facts.sender = sender;
  facts.nexthop = "Next.Hop";
  facts.recipients = {{"User+Ext@D.example", "Orig@D.example"}, {"b c@d.example", "b c@d.example"}};
  const auto out = expand_command(*spec, facts, "+");
  if (!out) return "error: " + out.error().context;
  std::string text;
  for (const std::string& word : *out) text += "[" + word + "]";
  return text;
}

std::string outcome(int status, const std::string& output = "") {
  const auto out = command_outcome({status, false, output, "/bin/x"}, "done");
  const char* names[] = {"pending", "sent", "deferred", "bounced"};
  return std::string(names[static_cast<int>(out.status)]) + " " + out.dsn + " " + out.text;
}
int exited(int code) { return code << 8; }

}  // namespace

TEST_CASE("pipe attributes: all of them, the command last", "[local][command]") {
  const auto spec = parse_command_spec({"flags=BDFORXhqu.>", "user=vmail:mail", "chroot=/c", "directory=/d", "eol=\\r\\n\\101\\\\",
                                        "null_sender=", "size=100", "argv=/bin/x", "user=y", "a b"}, SpecKind::pipe);
  REQUIRE(spec);
  CHECK(spec->flags == 2047);
  CHECK((spec->user == "vmail" && spec->group == "mail" && spec->chroot == "/c" && spec->directory == "/d"));
  CHECK(spec->eol == "\r\nA\\");
  CHECK((spec->null_sender.empty() && spec->size_limit == 100));
  CHECK(spec->argv == std::vector<std::string>{"/bin/x", "user=y", "a b"});
}

TEST_CASE("pipe attributes: what is missing or wrong is named", "[local][command]") {
  CHECK(problem({"argv=/bin/x"}) == "missing user= attribute");
  CHECK(problem({"user=x"}) == "missing argv= attribute");
  CHECK(problem({"user=x", "argv="}) == "missing argv= attribute");
  CHECK(problem({"user=", "argv=x"}) == "bad value: user=");
  CHECK(problem({"user=x:", "argv=x"}) == "bad value: user=x:");
  CHECK(problem({"size=1k", "user=x", "argv=x"}) == "bad value: size=1k");
  CHECK(problem({"colour=red", "user=x", "argv=x"}) == "unknown attribute: colour=red");
  CHECK(problem({"/bin/x"}) == "unknown attribute: /bin/x");
  CHECK(problem({"flags=Z", "user=x", "argv=x"}).substr(0, 15) == "unknown flag: Z");
  CHECK(problem({"flags=D", "user=x", "argv=x"}, SpecKind::spawn) == "unknown attribute: flags=D");
}

TEST_CASE("pipe command line: one word for each recipient, never more", "[local][command]") {
  CHECK(expanded("", {"cmd", "-f", "$sender", "--", "${recipient}"}) ==
        "[cmd][-f][Se nder@S.example][--][User+Ext@D.example][b c@d.example]");
  CHECK(expanded("hqu", {"cmd", "$sender", "<$(recipient)>", "$original_recipient"}) ==
        "[cmd][\"Se nder\"@S.example][<user+ext@d.example>][<\"b c\"@d.example>][orig@d.example][\"b c\"@d.example]");
  CHECK(expanded("", {"cmd", "${user}/${extension}/$mailbox@$domain"}) ==
        "[cmd][User/Ext/User+Ext@D.example][b c//b c@d.example]");
  CHECK(expanded("h", {"cmd", "$nexthop", "$$x", "a$domain"}) == "[cmd][next.hop][$x][ad.example][ad.example]");
  CHECK(expanded("q", {"cmd", "$sender"}, "") == "[cmd][MAILER-DAEMON]");
  CHECK(expanded("", {"cmd", "$home"}) == "error: unknown macro name: \"home\"");
}

TEST_CASE("pipe command line: what a value holds is not expanded again", "[local][command]") {
  CHECK(expanded("", {"cmd", "$sender"}, "$recipient; `id`") == "[cmd][$recipient; `id`]");
}

TEST_CASE("command outcome: exit status, sysexits, DSN text", "[local][command]") {
  CHECK(outcome(exited(0)) == "sent 2.0.0 done");
  CHECK(outcome(exited(0), "5.1.1 words\nmore\n") == "sent 2.0.0 done (5.1.1 words more)");
  CHECK(outcome(exited(EX_NOUSER)) == "bounced 5.1.1 user unknown");
  CHECK(outcome(exited(EX_TEMPFAIL), "full\n") == "deferred 4.3.0 temporary failure. Command output: full ");
  CHECK(outcome(exited(EX_NOUSER), "4.2.2 over quota") == "deferred 4.2.2 over quota");
  CHECK(outcome(exited(EX_TEMPFAIL), "5.7.1 no\n") == "bounced 5.7.1 no ");
  CHECK(outcome(exited(1), "2.1.5 fine") == "bounced 5.0.0 fine");
  CHECK(outcome(exited(79)) == "bounced 5.3.0 Command died with status 79: \"/bin/x\"");
  CHECK(outcome(9) == "deferred 4.3.0 Command died with signal 9: \"/bin/x\"");
  CHECK(shown_output("a\tb\x01\xff\xc3\xa4\xe2\x82") == "a b__\xc3\xa4__");
  const auto late = command_outcome({9, true, "", "/bin/x"}, "done");
  CHECK(late.text == "Command time limit exceeded: \"/bin/x\"");
  CHECK(late.status == deliver::Outcome::Status::bounced);
}

TEST_CASE("identity: root is never taken", "[local]") {
  Identity root;
  root.name = "root";
  CHECK_FALSE(take_identity(root));
  Identity with_group;
  with_group.uid = 12345;
  CHECK_FALSE(take_identity(with_group));
  CHECK(find_identity("root")->uid == 0);
  CHECK(find_identity("no such account").error().context == "unknown user: no such account");
}

TEST_CASE("command environment: a fixed path, what is exported, nothing else", "[local]") {
  config::Findings findings;
  const auto config = config::Config::from_text("export_environment = MAIL_CONFIG LANG SECRET X=y\n", "", findings, "/c");
  ::setenv("SECRET", "key", 1);
  std::string text;
  for (const auto& [name, value] : command_environment(*config, {{"USER", "u"}})) text += name + "=" + value + "\n";
  CHECK(text == "PATH=/usr/bin:/bin\nMAIL_CONFIG=/c\nLANG=C\nX=y\nUSER=u\n");
}
