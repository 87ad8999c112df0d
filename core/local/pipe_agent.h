// The pipe(8) delivery agent: a message to the command of a pipe service, run by the master.
#pragma once

#include <memory>
#include <string>

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/deliver/attempt.h"
#include "core/local/command_spec.h"
#include "core/local/runner.h"

namespace millrace::local {

// `spool`: a directory on the queue's file system.  All outlive the agent.  Errors: config (the service's
// attributes).
Result<std::unique_ptr<deliver::Agent>> make_pipe_agent(const config::Config& config, const config::Service& service,
                                                        std::string spool, Runner& runner, log::Logger log);

// The values of an attempt that a command may see, into a request.
void add_facts(Request& request, const deliver::Attempt& attempt);

}  // namespace millrace::local
