#include "core/mime/verp.h"

#include <catch2/catch.hpp>

using namespace millrace::mime;

TEST_CASE("verp: the recipient stands in the sender", "[verp]") {
  CHECK(verp_sender("owner-list@origin.example", "+=", "user@domain.example") == "owner-list+user=domain.example@origin.example");
  CHECK(verp_sender("owner@o", "-+", "a@b@c") == "owner-a@b+c@o");
  CHECK(verp_sender("owner", "+=", "user@d") == "owner+user=d");
  CHECK(verp_sender("owner@o", "+=", "user") == "owner+user@o");
  CHECK(verp_sender("owner@", "+=", "user@") == "owner+user");
}

TEST_CASE("verp: which delimiters are allowed", "[verp]") {
  CHECK(verp_problem("+=", "-=+").empty());
  CHECK(verp_problem("==", "-=+").empty());
  CHECK(verp_problem("", "-=+") == "bad VERP delimiter character count");
  CHECK(verp_problem("+=x", "-=+") == "bad VERP delimiter character count");
  CHECK(verp_problem("x=", "-=+") == "bad first VERP delimiter character");
  CHECK(verp_problem("+x", "-=+") == "bad second VERP delimiter character");
}
