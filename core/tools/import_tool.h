// `millrace queue import DIR`: takes over the messages of a stopped Postfix's queue.
//
// Promise: each message is durable in our queue before its file there goes away; what cannot be read stays where it
// is and is named.  Neither mail system runs meanwhile: the lock of both masters is held.
#pragma once

#include <string>

namespace millrace::tools {

// queue import [-n] DIR     -n: says what would be done
// 0 when every message was taken over.
int import_main(int argc, char** argv, const std::string& config_directory);

}  // namespace millrace::tools
