// `millrace map`: look-ups from the shell, and making FILE.lmdb (postmap(1)).
#pragma once

#include <string>

namespace millrace::tools {

// map -q KEY [TYPE:]NAME …                 prints the value: 0 found, 1 not found, 2 error
// map -q - [TYPE:]NAME …                            keys from standard input; prints "key TAB value"
// map [-w | -r] [TYPE:]FILE …                       makes FILE.lmdb for hash, btree and lmdb
// Without TYPE it is main.cf's default_database_type.  argv[0] is what messages begin with.  File names are relative to the working directory, as postmap's are.
int map_main(int argc, char** argv, const std::string& config_directory);

}  // namespace millrace::tools
