#include "core/tools/tool.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "core/config/names.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kDefaultDirectory = "/etc/postfix";

struct Link {
  std::string_view name, tool, argument;   // argument: put in front of the others, "" for none
};
constexpr std::array<Link, 9> kLinks = {{
    {"postconf", "conf", ""},
    {"postmap", "map", ""},
    {"postalias", "alias", ""},
    {"newaliases", "sendmail", "-bi"},
    {"postqueue", "queue", ""},
    {"mailq", "sendmail", "-bp"},
    {"postsuper", "super", ""},
    {"postcat", "cat", ""},
    {"sendmail", "sendmail", ""},
}};

// Takes "-c DIR" or "-cDIR" off the front; false when DIR is missing.
bool take_directory(std::vector<std::string>& arguments, std::string& directory) {
  while (!arguments.empty() && arguments[0].starts_with("-c")) {
    std::size_t used = 1;
    if (arguments[0].size() > 2) {
      directory = arguments[0].substr(2);
    } else if (arguments.size() > 1) {
      directory = arguments[1];
      used = 2;
    } else {
      return false;
    }
    arguments.erase(arguments.begin(), arguments.begin() + static_cast<long>(used));
  }
  return true;
}

void print_help(std::span<const Tool> tools) {
  fmt::print("usage: millrace [-c DIR] COMMAND [ARGUMENT…]\n\n");
  for (const Tool& tool : tools) fmt::print("  {:<12} {}\n", tool.name, tool.about);
  fmt::print("\n-c DIR: the configuration directory (else $MAIL_CONFIG, else {})\n", kDefaultDirectory);
}

}  // namespace

Invocation parse_invocation(const std::vector<std::string>& argv, const char* mail_config) {
  Invocation out;
  out.config_directory = mail_config != nullptr && *mail_config != '\0' ? mail_config : std::string(kDefaultDirectory);
  const std::string self = argv.empty() ? "millrace" : argv[0].substr(argv[0].rfind('/') + 1);
  out.arguments.assign(argv.begin() + (argv.empty() ? 0 : 1), argv.end());
  out.program = "millrace";
  const auto link = std::find_if(kLinks.begin(), kLinks.end(), [&self](const Link& row) { return row.name == self; });
  if (link != kLinks.end()) {
    out.program = self;
    out.tool = link->tool;
  } else if (self == "postfix") {
    out.program = self;
  }
  if (out.program != "sendmail" && !take_directory(out.arguments, out.config_directory)) {
    out.problem = "option -c needs a directory";
    return out;
  }
  if (link != kLinks.end()) {
    if (!link->argument.empty()) out.arguments.emplace(out.arguments.begin(), link->argument);
    return out;
  }
  if (out.arguments.empty()) {
    out.problem = "which command? (--help lists them)";
    return out;
  }
  const std::string word = out.arguments[0];
  out.arguments.erase(out.arguments.begin());
  if (word == "--version" || word == "-V") {
    out.version = true;
  } else if (word == "--help" || word == "help") {
    out.help = true;
  } else if (word.starts_with("-")) {
    out.problem = "unknown option: " + word;
  } else {
    out.tool = word;
    if (word != "sendmail" && !take_directory(out.arguments, out.config_directory)) {
      out.problem = "option -c needs a directory";
    }
  }
  return out;
}

int run(int argc, char** argv, std::span<const Tool> tools) {
  Invocation invocation = parse_invocation(std::vector<std::string>(argv, argv + argc), std::getenv("MAIL_CONFIG"));
  if (invocation.version) {
    fmt::print("millrace {}\n", config::find_name("mail_version")->fallback);
    return 0;
  }
  if (invocation.help) {
    print_help(tools);
    return 0;
  }
  const auto tool = std::find_if(tools.begin(), tools.end(),
                                 [&](const Tool& row) { return row.name == invocation.tool; });
  if (invocation.problem.empty() && tool == tools.end()) {
    invocation.problem = fmt::format("unknown command: {} (--help lists them)", invocation.tool);
  }
  if (!invocation.problem.empty()) {
    fmt::print(stderr, "{}: fatal: {}\n", invocation.program, invocation.problem);
    return 1;
  }
  std::vector<char*> pointers = {invocation.program.data()};
  for (std::string& argument : invocation.arguments) pointers.push_back(argument.data());
  const int count = static_cast<int>(pointers.size());
  pointers.push_back(nullptr);
  return tool->run(count, pointers.data(), invocation.config_directory);
}

}  // namespace millrace::tools
