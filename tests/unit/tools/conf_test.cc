#include "core/tools/conf.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/tools/manual.h"

using namespace millrace::tools;
using Edit = ConfRequest::Edit;
using What = ConfRequest::What;

namespace {

// A configuration directory for one test.
class Directory {
 public:
  Directory(const std::string& main, const std::string& master) {
    char name[] = "/tmp/mr-conf-XXXXXX";
    path = mkdtemp(name);
    std::ofstream(path + "/main.cf") << main;
    std::ofstream(path + "/master.cf") << master;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string main() const {
    std::stringstream out;
    out << std::ifstream(path + "/main.cf").rdbuf();
    return out.str();
  }
  std::string path;
};

std::string edit(std::string_view text, Edit what, const std::vector<std::string>& requests) {
  std::vector<std::string> warnings;
  std::string problem;
  std::string out = edit_main_cf(text, what, requests, warnings, problem);
  for (const std::string& line : warnings) out += "warning: " + line + "\n";
  return problem.empty() ? out : "problem: " + problem;
}

}  // namespace

TEST_CASE("conf: shows what is set, as postconf does", "[tools][conf]") {
  const Directory dir("foo = bar\nmail_name =   a   b\nsmtpd_banner = $mail_name\n  $foo\nunused = 1\n",
                      "smtp inet n - n - - smtpd\n");
  ConfRequest request{.directory = dir.path};
  request.explicit_only = true;
  ConfResult result = conf(request);
  CHECK(result.status == 0);
  CHECK(result.out == "config_directory = " + dir.path + "\nfoo = bar\nmail_name = a b\nsmtpd_banner = $mail_name $foo\n");
  CHECK(result.err == "warning: " + dir.path + "/main.cf: unused parameter: unused=1\n");

  request.explicit_only = false;
  request.names = {"smtpd_banner", "smtpd_timeout", "nosuch", "unused"};
  request.expand = true;
  request.overrides = {"stress=yes", "foo=baz"};
  result = conf(request);
  CHECK(result.out == "smtpd_banner = a b baz\nsmtpd_timeout = 10s\n");
  CHECK(result.err.substr(0, 71) == "warning: nosuch: unknown parameter\nwarning: unused: unknown parameter\nw");

  request.defaults = true;
  request.hide_name = true;
  request.names = {"mail_name", "foo", "relay_destination_recipient_limit"};
  result = conf(request);
  CHECK(result.out == "Millrace\n50\n");
}

TEST_CASE("conf: shows master.cf in columns", "[tools][conf]") {
  const Directory dir("", "smtp inet n - n - - smtpd -vo{a = b c}\n -o d=$e\nx unix - n n - 10 pipe flags=R {argv=/bin/x y}\n");
  ConfRequest request{.what = What::services, .directory = dir.path};
  CHECK(conf(request).out ==
        "smtp       inet  n       -       n       -       -       smtpd -v -o {a=b c} -o d=$e\n"
        "x          unix  -       n       n       -       10      pipe flags=R {argv=/bin/x y}\n");
  request.fold = true;
  request.names = {"smtp/inet", "y"};
  const ConfResult folded = conf(request);
  CHECK(folded.out ==
        "smtp       inet  n       -       n       -       -       smtpd -v\n    -o {a=b c}\n    -o d=$e\n");
  CHECK(folded.err == "warning: unmatched request: \"y\"\n");
  request.what = What::service_parameters;
  request.names.clear();
  CHECK(conf(request).out == "smtp/inet/a = b c\nsmtp/inet/d = $e\n");
  request.what = What::fields;
  request.names = {"x/unix/command"};
  CHECK(conf(request).out == "x/unix/command = pipe flags=R {argv=/bin/x y}\n");
}

TEST_CASE("conf: what cannot be read is fatal", "[tools][conf]") {
  CHECK(conf(ConfRequest{.directory = "/nowhere"}).status == 1);
  const Directory dir("word\n", "");
  const ConfResult result = conf(ConfRequest{.directory = dir.path});
  CHECK(result.status == 1);
  CHECK(result.err == "fatal: " + dir.path + "/main.cf, line 1: missing '=' after attribute name: \"word\"\n");
}

TEST_CASE("conf: edits keep everything else", "[tools][conf]") {
  const std::string text = "# top\na = 1\n  2\n# between\n  3\nb = 4\n";
  CHECK(edit(text, Edit::set, {"a=9", " c = 7 "}) == "# top\na = 9\n# between\nb = 4\nc = 7\n");
  CHECK(edit(text, Edit::remove, {"a"}) == "# top\n# between\nb = 4\n");
  CHECK(edit(text, Edit::comment_out, {"a"}) == "# top\n#a = 1\n#  2\n# between\n#  3\nb = 4\n");
  CHECK(edit("a=1", Edit::set, {"a="}) == "a = \n");
  CHECK(edit("a=1\na=2\n", Edit::set, {"a=3", "a=4"}) ==
        "a = 4\na = 4\nwarning: ignoring earlier request: 'a = 3'\nwarning: multiple entries for \"a\"\n");
  CHECK(edit("", Edit::set, {"a"}) == "problem: missing '=' after attribute name: \"a\"");
  CHECK(edit("", Edit::set, {"a=1\nb=2"}) == "problem: no newlines, please: a=1?b=2");
  CHECK(edit("", Edit::remove, {"a=1"}) == "problem: a parameter name is wanted, without value: \"a=1\"");
  CHECK(edit("", Edit::set, {"#a=1"}) == "problem: no comments, please: #a=1");
}

TEST_CASE("conf: -e writes the file, with its mode", "[tools][conf]") {
  const Directory dir("a = 1\n", "");
  std::filesystem::permissions(dir.path + "/main.cf", std::filesystem::perms(0640));
  ConfRequest request{.edit = Edit::set, .names = {"a=2"}, .directory = dir.path};
  CHECK(conf(request).status == 0);
  CHECK(dir.main() == "a = 2\n");
  CHECK(std::filesystem::status(dir.path + "/main.cf").permissions() == std::filesystem::perms(0640));
}

TEST_CASE("conf: master.cf is edited entry by entry", "[tools][conf]") {
  const std::string text =
      "# head\nsmtp      inet  n       -       y       -       -       smtpd\n# inside\n  -o a=b\n  -o { c = d e }\n"
      "smtp      unix  -       -       y       -       -       smtp\n        -o syslog_name=x/$service_name\n   -v\n# tail\n";
  const auto edit = [&](What what, Edit how, const std::vector<std::string>& requests) {
    std::vector<std::string> warnings;
    std::string problem;
    const std::string out = edit_master_cf(text, what, how, requests, warnings, problem);
    if (!problem.empty()) return "problem: " + problem;
    std::string said;
    for (const std::string& line : warnings) said += "warning: " + line + "\n";
    return out + said;
  };
  const std::string unix_entry = text.substr(text.find("smtp      unix"));
  const std::string inet_entry = text.substr(0, text.find("smtp      unix"));
  CHECK(edit(What::services, Edit::set, {"smtp/inet=smtp inet n - n - 5 smtpd -o x=y -o {z = a b} -v"}) ==
        "# head\nsmtp       inet  n       -       n       -       5       smtpd\n    -o x=y\n    -o {z=a b}\n    -v\n# inside\n" + unix_entry);
  CHECK(edit(What::services, Edit::set, {"new/unix=new unix - - n - - pipe flags=x"}) ==
        text + "new        unix  -       -       n       -       -       pipe flags=x\n");
  CHECK(edit(What::services, Edit::remove, {"smtp/inet"}) == "# head\n# inside\n" + unix_entry);
  CHECK(edit(What::services, Edit::comment_out, {"smtp/unix"}) ==
        inet_entry + "#smtp      unix  -       -       y       -       -       smtp\n#        -o syslog_name=x/$service_name\n#   -v\n# tail\n");
  CHECK(edit(What::fields, Edit::set, {"*/unix/chroot=n"}) ==
        inet_entry + "smtp       unix  -       -       n       -       -       smtp\n    -o syslog_name=x/$service_name\n    -v\n# tail\n");
  CHECK(edit(What::fields, Edit::set, {"smtp/unix/command=smtp -o q=r -v"}) ==
        inet_entry + "smtp       unix  -       -       y       -       -       smtp\n    -o q=r\n    -v\n# tail\n");
  CHECK(edit(What::service_parameters, Edit::set, {"smtp/inet/fresh=1"}) ==
        "# head\n# inside\nsmtp       inet  n       -       y       -       -       smtpd\n    -o a=b\n    -o {c=d e}\n    -o fresh=1\n" + unix_entry);
  CHECK(edit(What::service_parameters, Edit::remove, {"smtp/unix/syslog_name"}) ==
        inet_entry + "smtp       unix  -       -       y       -       -       smtp -v\n# tail\n");
  CHECK(edit(What::fields, Edit::set, {"nope/unix/command=x"}) == text + "warning: unmatched service_name/type: \"nope/unix/command=x\"\n");
  CHECK(edit(What::service_parameters, Edit::set, {"smtp/inet/a=b c"}) == "problem: -Pe does not accept whitespace in parameter value");
  CHECK(edit(What::fields, Edit::remove, {"smtp/inet/chroot"}) == "problem: with option -F, do not specify -X");
  CHECK(edit(What::service_parameters, Edit::comment_out, {"smtp/inet/a"}) == "problem: with option -P, do not specify -#");
  CHECK(edit(What::services, Edit::set, {"smtp/inet=garbage"}) == "problem: bad master.cf entry: \"garbage\"");
  CHECK(edit(What::fields, Edit::set, {"smtp/inet/nofield=n"}) == "problem: bad field name: \"nofield\"");
  CHECK(edit(What::fields, Edit::set, {"smtp/inet/chroot=maybe"}) == "problem: bad value: \"smtp/inet/chroot=maybe\"");
}

TEST_CASE("conf: the manual page names every parameter", "[tools][manual]") {
  const std::string text = main_cf_manual();
  for (const char* name : {".It Va smtpd_filters\n", ".It Va smtpd_banner\n", "\nsmtp_sasl_password_maps\n", "\ntrigger_timeout\n"}) {
    CAPTURE(name);
    CHECK(text.find(name) != std::string::npos);
  }
}
