// What all roles are given: the configuration of one generation and what the master opened for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/daemon/child.h"
#include "core/daemon/listeners.h"
#include "core/daemon/shared.h"

namespace millrace::smtp {
class AnvilTable;
}

namespace millrace::daemon {

struct Setup {
  std::shared_ptr<const config::Config> config;
  Owner owner;
  log::Options log_options;         // of this instance: file descriptor or syslog
  std::vector<ListenPlan> plan;     // of the smtpd services
  std::vector<int> listening;       // descriptor for each entry of plan
  std::vector<ListenPlan> spawn_plan;   // the same of the spawn services; the master itself accepts there
  std::vector<int> spawn_listening;
  SharedBlock* shared = nullptr;
  smtp::AnvilTable* anvil = nullptr;
  int queue_listening = -1;         // of queue::queue_socket_path()
  int metrics_listening = -1;       // of metrics_listen; -1: none
  int pickup_listening = -1;        // of submit::pickup_socket_path()
  int control_listening = -1;       // of queue::control_socket_path()
  unsigned generation = 0;
  int fronts = 1;
  bool queue_died = false;          // the queue process before this one crashed by itself
  bool dry_run = false;             // `check`: prepare everything, touch nothing
};

// The number of a front among AnvilTable's processes.
unsigned anvil_process(unsigned generation, int slot);

// Below queue_directory; the queue's own paths are in core/queue/paths.h.
std::string trace_directory(const config::Config& config);

// "postfix/master" and friends: syslog_name of the service (or main.cf) with the program's name.
log::Logger logger_for(const config::Config& config, std::string_view program,
                       const config::Service* service = nullptr);

// Where log lines of this configuration go; opens maillog_file.  `foreground`: standard error takes them
// when neither a file is named nor a syslog socket exists.
Result<log::Options> open_log(const config::Config& config, bool foreground);

// An error of a library whose text begins with the parameter it is about ("relay_domains: open …"): reported
// at that parameter's place, or under `topic` when it names none.
void report_error(config::Findings& findings, const config::Config& config, const std::string& topic,
                  const Error& error);

// Makes the directories below queue_directory with their owners and modes; data_directory too.
Result<void> make_directories(const config::Config& config, const Owner& owner);

}  // namespace millrace::daemon
