#include "core/tools/tool.h"

#include <catch2/catch.hpp>

using namespace millrace::tools;

namespace {

std::string text(const std::vector<std::string>& argv, const char* mail_config = nullptr) {
  const Invocation i = parse_invocation(argv, mail_config);
  std::string out = i.program + ":" + i.config_directory + ":" + i.tool;
  for (const std::string& argument : i.arguments) out += "|" + argument;
  if (i.version) out += "(version)";
  if (i.help) out += "(help)";
  return i.problem.empty() ? out : "problem: " + i.problem;
}

std::string ran;
int note(int argc, char** argv, const std::string& directory) {
  ran = directory;
  for (int i = 0; i < argc; ++i) ran += std::string("|") + argv[i];
  return 7;
}

}  // namespace

TEST_CASE("tools: the command line names directory and command", "[tools]") {
  CHECK(text({"/usr/sbin/millrace", "-c", "/d", "conf", "-n"}) == "millrace:/d:conf|-n");
  CHECK(text({"millrace", "-c/d", "queue", "-p"}) == "millrace:/d:queue|-p");
  CHECK(text({"millrace", "conf", "-c", "/d", "-n"}) == "millrace:/d:conf|-n");
  CHECK(text({"millrace", "start"}) == "millrace:/etc/postfix:start");
  CHECK(text({"millrace", "start"}, "/env") == "millrace:/env:start");
  CHECK(text({"millrace", "-c", "/d", "start"}, "/env") == "millrace:/d:start");
  CHECK(text({"millrace", "--version"}) == "millrace:/etc/postfix:(version)");
  CHECK(text({"millrace", "--help"}) == "millrace:/etc/postfix:(help)");
  CHECK(text({"millrace"}) == "problem: which command? (--help lists them)");
  CHECK(text({"millrace", "-x"}) == "problem: unknown option: -x");
  CHECK(text({"millrace", "-c"}) == "problem: option -c needs a directory");
}

TEST_CASE("tools: links are commands of their own", "[tools]") {
  CHECK(text({"/usr/sbin/postconf", "-c", "/d", "-n", "x"}) == "postconf:/d:conf|-n|x");
  CHECK(text({"mailq"}) == "mailq:/etc/postfix:sendmail|-bp");
  CHECK(text({"postfix", "-c", "/d", "reload"}) == "postfix:/d:reload");
  CHECK(text({"sendmail", "-C", "/d", "-c", "x"}) == "sendmail:/etc/postfix:sendmail|-C|/d|-c|x");
}

TEST_CASE("tools: run finds the command in the table", "[tools]") {
  const Tool table[] = {{"note", note, "for the test"}};
  std::vector<std::string> words = {"millrace", "-c", "/d", "note", "a", "-c"};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  CHECK(run(static_cast<int>(argv.size()), argv.data(), table) == 7);
  CHECK(ran == "/d|millrace|a|-c");
  words[3] = "nope";
  argv[3] = words[3].data();
  CHECK(run(static_cast<int>(argv.size()), argv.data(), table) == 1);
}
