// Local and virtual deliveries in the master's child: aliases' commands, files and lists, .forward, mailboxes.
//
// As root it looks up the account or the tables of its own configuration and forks; what users can write is
// opened, parsed and run in processes that have taken the user's identity.  Says what became of it as records
// (report.h) on its second descriptor.
#pragma once

#include "core/config/config.h"
#include "core/local/frame.h"

namespace millrace::local {

// Descriptor 0 is the message (canonical text), 1 the report.  Does not return.
[[noreturn]] void run_delivery(const config::Config& config, const config::Service& service, const Request& request);

// What the value Tag::entry of a forward request asks for beside: the mailbox, when there is no .forward.
constexpr char kThenMailbox[] = "mailbox";

}  // namespace millrace::local
