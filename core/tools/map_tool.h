// `millrace map`, alias postmap: asks, lists, makes and changes lookup tables (postmap(1)).
#pragma once

#include <string>

namespace millrace::tools {

// map [-c DIR] [-f] -q KEY|- [TYPE:]NAME …       prints the value; "key TAB value" for keys from standard input
// map [-c DIR] -s [TYPE:]NAME …                  prints all entries
// map [-c DIR] [-f] -d KEY|- [TYPE:]NAME …       removes entries
// map [-c DIR] [-finNprw] [TYPE:]FILE …          makes FILE.lmdb for hash, btree and lmdb; -i adds to it
// 0 done or found, 1 not found or an error, as postmap.  Without TYPE it is main.cf's default_database_type.
// argv[0] is what messages begin with.  File names are relative to the working directory.
int map_main(int argc, char** argv, const std::string& config_directory);

}  // namespace millrace::tools
