// What a command line of sendmail(1) asks for.  Pure: nothing is done, nothing is looked up.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/mime/envelope.h"

namespace millrace::tools {

struct SendmailRequest {
  enum class Mode { submit, verify, smtp, daemon, list_queue, new_aliases, flush, flush_message, flush_site, nothing };
  Mode mode = Mode::submit;
  std::string config_directory;    // -C; "" = the usual one
  std::string sender;              // -f, -r as typed
  bool sender_given = false;
  std::string full_name;           // -F
  bool full_name_given = false;
  bool extract = false;            // -t
  bool dot_ends = true;            // until -i, -oi
  bool gateway = false;            // -G
  bool record = false;             // -v
  mime::BodyType body = mime::BodyType::unset;
  unsigned notify = 0;
  mime::Ret ret = mime::Ret::unset;
  std::string envid;               // as typed
  bool verp = false;               // -XV
  std::optional<std::string> verp_delimiters;   // of -XVxy, not judged; none: the default ones
  std::string alias_database;      // -oA
  std::string site;                // -qR, -qI
  std::vector<std::string> recipients;
  std::vector<std::string> warnings;
  std::string problem;             // set: nothing else counts
};

// `arguments` without the program's name.
SendmailRequest parse_sendmail(const std::vector<std::string>& arguments);

}  // namespace millrace::tools
