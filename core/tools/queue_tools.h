// `millrace queue`, `super` and `cat`: postqueue(1), postsuper(1), postcat(1).
//
// Output, messages and exit status are Postfix 3.7's.  What differs: messages are not files (cat takes queue
// ids only; super's -p, -s and -S say that there is nothing to do; cat's -d, -o, -r and -s are refused),
// requeued mail keeps its id, and `queue -s` is not limited to fast_flush_domains.
#pragma once

#include <string>

namespace millrace::tools {

int queue_main(int argc, char** argv, const std::string& config_directory);
int super_main(int argc, char** argv, const std::string& config_directory);
int cat_main(int argc, char** argv, const std::string& config_directory);

}  // namespace millrace::tools
