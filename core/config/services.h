// What a master.cf entry is to Millrace: something it runs, one of Postfix's internal services that it has
// no need of, or something it does not have.
#pragma once

#include <string_view>

#include "core/config/config.h"

namespace millrace::config {

enum class ServiceKind {
  server,        // smtpd: a listener
  client,        // smtp, lmtp: a transport
  answer,        // error, discard: a transport that answers by itself
  submission,    // pickup: mail of local users
  internal,      // cleanup, qmgr, …: the work is done, but not by a process of that name
  delivery,      // pipe, local, virtual: a transport whose work is done with another user's rights
  spawn,         // a listener whose clients are given to a command
  unsupported,   // postscreen, qmqpd, anything unknown
};
ServiceKind service_kind(const Service& service);

// The cleanup service of master.cf that a listener's (or pickup's) mail goes through, by cleanup_service_name; its -o
// values are those of rewriting, copies, header fields and content checks.  nullptr: main.cf alone.
const Service* cleanup_service(const Config& config, const Service* service);
// The parameters of that service.
std::shared_ptr<const Params> cleanup_params(const Config& config, const Service* service);

// Is it the queue manager, under any of its names?
bool is_queue_manager(const Service& service);

// master_service_disable: "type", "name/type" or "name.type", with "!" not those; the first word that fits a
// service decides.  The queue manager also goes by "qmgr" alone and as a fifo, which it once was.
void disable_services(std::vector<Service>& services, std::string_view words, const Location& where, Findings& findings);

// Types and commands that cannot work, and -o values that are not acted on.
void check_services(const Config& config, Findings& findings);

}  // namespace millrace::config
