// One binary, many commands: `millrace [-c DIR] COMMAND ARGUMENTS`, and links named as Postfix's commands.
//
// The table of commands is made by main(): each module offers functions, nothing registers itself.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::tools {

// argv[0] is the name to put in front of messages ("millrace", or the link's: "postconf"), the rest are the
// arguments after the command word and after -c DIR.  Returns the exit status.
using ToolFunction = int (*)(int argc, char** argv, const std::string& config_directory);

struct Tool {
  std::string_view name;    // "conf"
  ToolFunction run;
  std::string_view about;   // one line for --help
};

// What a command line asks for, before any of it is done.
struct Invocation {
  std::string tool;              // "conf"; "" with `problem`, or for --version and --help
  std::string program;           // "millrace", "postconf"
  std::string config_directory;  // -c, else $MAIL_CONFIG, else /etc/postfix
  std::vector<std::string> arguments;
  bool version = false, help = false;
  std::string problem;
};

// Links: postconf, postmap, postalias, newaliases, postqueue, mailq, postsuper, postcat, sendmail; postfix
// takes the command as millrace does.  -c DIR stands in front of the command or right after it; sendmail
// has -C of its own.
Invocation parse_invocation(const std::vector<std::string>& argv, const char* mail_config);

// Finds the command in `tools` and runs it.
int run(int argc, char** argv, std::span<const Tool> tools);

}  // namespace millrace::tools
