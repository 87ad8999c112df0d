// `millrace milter`: our filters for Postfix and Sendmail; options in core/service/program.h, and
//
//   --spool DIR   where bodies over 64 KiB are kept, in files without a name (default /var/tmp)
//
// Filters are asked in the order of the command line.
#pragma once

#include <string>

namespace millrace::milterd {

int milter_main(int argc, char** argv, const std::string& config_directory);

}  // namespace millrace::milterd
