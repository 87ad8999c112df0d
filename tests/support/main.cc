// Catch2's main, alone in a file because it takes 15 s to compile.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
