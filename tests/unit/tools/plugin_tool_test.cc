// `millrace plugin list` over a directory with a good plugin, a bad file and one that others could write.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

#include "core/tools/plugin_tool.h"

namespace fs = std::filesystem;

namespace {

struct Output {
  int status;
  std::string text;
};

Output list(const std::string& directory, std::vector<std::string> words) {
  words.insert(words.begin(), {"millrace", "list"});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string file = directory + "/out";
  std::fflush(stdout);
  const int saved = dup(1), out = open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  dup2(out, 1);
  const int status = millrace::tools::plugin_main(static_cast<int>(words.size()), argv.data(), directory);
  std::fflush(stdout);
  dup2(saved, 1);
  close(saved);
  close(out);
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return {status, text.str()};
}

}  // namespace

TEST_CASE("plugin list: says what can be used, and why not", "[tools][plugin]") {
  char name[] = "/tmp/plugin_toolXXXXXX";
  const std::string directory = mkdtemp(name);
  fs::create_directory(directory + "/plugins");
  std::ofstream(directory + "/main.cf") << "plugin_directory = " << directory << "/plugins\nmyhostname = x.example\n";
  std::ofstream(directory + "/master.cf") << "";
  fs::copy_file(PLUGIN_BUILD_DIRECTORY "/sample.so", directory + "/plugins/sample.so");
  chmod((directory + "/plugins/sample.so").c_str(), 0644);
  Output out = list(directory, {});
  CHECK(out.status == 0);
  CHECK(out.text.find("plugin:sample 0.1.0: refuses recipients") == 0);
  CHECK(out.text.find("  status alpha, posture robust, ABI 1.0 draft ") != std::string::npos);
  CHECK(out.text.find("  stages rcpt message close; edits headers\n") != std::string::npos);
  CHECK(out.text.find("reject_recipient") != std::string::npos);
  std::ofstream(directory + "/plugins/text.so") << "no object";
  out = list(directory, {"--json"});
  CHECK(out.status == 1);
  CHECK(out.text.find("\"plugin\": \"sample\"") != std::string::npos);
  CHECK(out.text.find("\"error\": ") != std::string::npos);
  CHECK(list(directory, {"sample"}).status == 0);
  CHECK(list(directory, {"absent"}).status == 1);
  CHECK(list(directory, {"--what"}).status == 2);
  fs::remove_all(directory);
}
