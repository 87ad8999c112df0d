// `millrace conf`, alias postconf: shows and edits main.cf and master.cf.  Output as postconf(1) 3.7.
// The lists of SASL, lock and TLS features are refused.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::tools {

int conf_main(int argc, char** argv, const std::string& config_directory);

struct ConfRequest {
  enum class What { parameters, services, fields, service_parameters, table_types, manual };
  enum class Edit { none, set, remove, comment_out };
  What what = What::parameters;
  Edit edit = Edit::none;
  bool defaults = false, explicit_only = false, expand = false, fold = false, hide_name = false, hide_value = false;
  std::vector<std::string> overrides;   // -o name=value
  std::vector<std::string> classes;     // -C
  std::vector<std::string> names;
  std::string directory;
};
struct ConfResult {
  std::string out, err;   // err: one message a line, without the program's name
  int status = 0;
};
ConfResult conf(const ConfRequest& request);

// main.cf text with parameters set ("name=value"), removed or commented out (names); comments and the rest
// stay as they are.  Pure.  `problem` says what is wrong with a request.
std::string edit_main_cf(std::string_view text, ConfRequest::Edit edit, const std::vector<std::string>& requests,
                         std::vector<std::string>& warnings, std::string& problem);
// master.cf text with entries ("smtp/inet=smtp inet n - …"), fields ("smtp/inet/chroot=n") or -o values
// ("smtp/inet/name=value") set, entries or -o values removed, or entries commented out.  Pure.
std::string edit_master_cf(std::string_view text, ConfRequest::What what, ConfRequest::Edit edit,
                           const std::vector<std::string>& requests, std::vector<std::string>& warnings, std::string& problem);

}  // namespace millrace::tools
