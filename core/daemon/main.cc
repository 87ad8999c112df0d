// The one program: `millrace [-c DIR] COMMAND …`, and Postfix's command names as links to it.
#include <cstdio>

#include "core/daemon/control.h"
#include "core/daemon/try_tool.h"
#include "core/milterd/tool.h"
#include "core/policyd/tool.h"
#include "core/tools/alias_tool.h"
#include "core/tools/conf.h"
#include "core/tools/dkim_tool.h"
#include "core/tools/explain_tool.h"
#include "core/tools/map_tool.h"
#include "core/tools/plugin_tool.h"
#include "core/tools/probe_tool.h"
#include "core/tools/queue_tools.h"
#include "core/tools/sendmail.h"
#include "core/tools/tool.h"

namespace {

using millrace::tools::Tool;

// A command of the daemon that takes no arguments.
template <int (*run)(const std::string&)>
int plain(int argc, char** argv, const std::string& config_directory) {
  if (argc > 1) {
    std::fprintf(stderr, "%s: fatal: unexpected argument: %s\n", argv[0], argv[1]);
    return 1;
  }
  return run(config_directory);
}

int start(const std::string& directory) { return millrace::daemon::start_main(directory, false); }
int start_fg(const std::string& directory) { return millrace::daemon::start_main(directory, true); }

int flush(const std::string& config_directory) {
  char name[] = "postqueue", option[] = "-f";
  char* arguments[] = {name, option, nullptr};
  return millrace::tools::queue_main(2, arguments, config_directory);
}

const Tool kTools[] = {
    {"start", plain<start>, "start the mail system in the background"},
    {"start-fg", plain<start_fg>, "start it in the foreground"},
    {"stop", plain<millrace::daemon::stop_main>, "stop it"},
    {"reload", plain<millrace::daemon::reload_main>, "take over a changed configuration without dropping a session"},
    {"status", plain<millrace::daemon::status_main>, "say whether it runs"},
    {"flush", plain<flush>, "attempt all deferred mail now"},
    {"check", plain<millrace::daemon::check_main>, "say what is wrong with the configuration"},
    {"logrotate", plain<millrace::daemon::logrotate_main>, "rename maillog_file and begin a new one"},
    {"conf", millrace::tools::conf_main, "show and edit parameters (postconf)"},
    {"map", millrace::tools::map_main, "build and ask lookup tables (postmap)"},
    {"alias", millrace::tools::alias_main, "the same for aliases (postalias)"},
    {"sendmail", millrace::tools::sendmail_main, "take a message from standard input (sendmail)"},
    {"queue", millrace::tools::queue_main, "list and flush the queue (postqueue, mailq)"},
    {"super", millrace::tools::super_main, "delete, hold, release, requeue (postsuper)"},
    {"cat", millrace::tools::cat_main, "show a queued message (postcat)"},
    {"try", millrace::daemon::try_main, "run a saved message through the filters, offline"},
    {"probe", millrace::tools::probe_main, "look at a milter or policy service"},
    {"doctor", millrace::daemon::doctor_main, "find what is wrong with filters and their sockets"},
    {"explain", millrace::tools::explain_main, "show what each filter said about a message"},
    {"policyd", millrace::policyd::policyd_main, "answer policy requests of any Postfix with plugins (SPF)"},
    {"milter", millrace::milterd::milter_main, "serve plugins to Postfix and Sendmail as a milter"},
    {"dkim", millrace::tools::dkim_main, "make a DKIM key and print its DNS record (dkim genkey)"},
    {"plugin", millrace::tools::plugin_main, "list plugins, check one against the ABI, begin one"},
};

}  // namespace

int main(int argc, char** argv) { return millrace::tools::run(argc, argv, kTools); }
