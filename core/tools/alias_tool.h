// `millrace alias`, alias postalias, and newaliases: makes and asks tables of aliases(5).
#pragma once

#include <string>

namespace millrace::tools {

// As map_main(), for aliases: their source is "name: value", and so is what -s and "-q -" print.
int alias_main(int argc, char** argv, const std::string& config_directory);

// Builds `database`, or all of main.cf's alias_database when it is empty.
int new_aliases(const std::string& database, const std::string& config_directory);

}  // namespace millrace::tools
