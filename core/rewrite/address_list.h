// The addresses in a header field or a table's result: a list in the grammar of RFC 5322 section 3.4, read as
// leniently as mail is written and printed as Postfix prints it.  Pure; linear in the text.
//
// Promise: every word belongs to an address, a display name, a comment or a group's name; nothing but what is past the
// token limit is lost.  "Joe User" without brackets is two addresses, as Postfix has it.  Does not decide whether an
// address is a good one.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/rewrite/address.h"

namespace millrace::rewrite {

class AddressList {
 public:
  // What stands past `token_limit` tokens is left out (header_address_token_limit).
  AddressList(std::string_view text, std::size_t token_limit);

  // The addresses in order, without comments, to be read and changed in place; none is empty to begin with.
  std::vector<Tokens*> addresses();
  // One address a line ('\n' behind each comma); comments stand behind the address they were in.  An element with more
  // than 250 octets beside its address becomes <address> alone.
  std::string print() const;

 private:
  struct Node {
    enum class Kind { word, comment, group_name_end, special, address } kind;
    std::string text;   // as it is printed; special: one character
    Tokens tokens;      // of an address; of a word that may become part of one, itself
    bool is(char c) const { return kind == Kind::special && text[0] == c; }
  };
  static std::vector<Node> scan(std::string_view text, std::size_t token_limit);
  static std::string printed(const Tokens& tokens);
  static bool space_between(const Node& node, const Node& next);
  void parse(std::vector<Node> flat);
  std::vector<Node> nodes_;
};

// The addresses alone.
std::vector<Tokens> find_addresses(std::string_view text, std::size_t token_limit);

// Gives each address of a field's value, in internal form and as tokens, to `edit`; its answer, in internal form,
// replaces the address unless it is nullopt.  True: something was changed, and `value` is the value printed anew, lines
// of CRLF and a tab, as many addresses on each as fit into 70 columns; `name_length` is what stands before the value
// on the first.  Errors: those of `edit`; `value` is as it was.
using AddressEdit = std::function<Result<std::optional<std::string>>(const Tokens& tokens)>;
Result<bool> edit_addresses(std::string& value, std::size_t name_length, std::size_t token_limit, const AddressEdit& edit);

}  // namespace millrace::rewrite
