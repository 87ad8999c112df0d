// The command line of a pipe(8) delivery: argv with its macros replaced.  Pure.
//
// Values never become words of their own: an argument is expanded as a whole, once, or once for each
// recipient when it names something of the recipient.  What a value holds is not looked at again.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/local/command_spec.h"
#include "core/local/frame.h"

namespace millrace::local {

struct PipeFacts {
  std::string sender;                // internal form; "" is replaced by null_sender
  std::string nexthop, queue_id, size;
  std::string client_address, client_helo, client_hostname, client_port, client_protocol;
  std::string sasl_method, sasl_sender, sasl_username;
  struct Recipient {
    std::string address, original;   // internal form
  };
  std::vector<Recipient> recipients;
};

PipeFacts pipe_facts(const Request& request);

// Errors: config (a macro that is none), protocol (a recipient without user part).
Result<std::vector<std::string>> expand_command(const CommandSpec& spec, const PipeFacts& facts,
                                                const std::string& recipient_delimiter);

}  // namespace millrace::local
