#include "core/rewrite/address_list.h"

#include <algorithm>
#include <utility>

#include "core/base/strings.h"
#include "core/map/text.h"

namespace millrace::rewrite {

namespace {

constexpr std::string_view kSpecials = "|\"(),.:;<>@[]%!";
constexpr std::size_t kMaxBesideAddress = 250;   // octets of names and comments in one element
constexpr std::size_t kLineWidth = 70;

// The end of what begins at `at`: a comment (they nest), a quoted string, a literal, a run of other
// characters, or one special.
std::size_t lexeme_end(std::string_view text, std::size_t at) {
  const char first = text[at];
  const auto closed_by = [&](char close) {
    std::size_t i = at + 1;
    while (i < text.size() && text[i] != close) i += text[i] == '\\' ? 2 : 1;
    return std::min(i + 1, text.size());
  };
  if (first == '"') return closed_by('"');
  if (first == '[') return closed_by(']');
  if (first == '(') {
    std::size_t i = at + 1;
    for (int depth = 1; i < text.size() && depth > 0; ++i) {
      if (text[i] == '\\') ++i;
      else if (text[i] == '(') ++depth;
      else if (text[i] == ')') --depth;
    }
    return std::min(i, text.size());
  }
  if (kSpecials.find(first) != kSpecials.npos) return at + 1;
  std::size_t i = at;
  while (i < text.size() && !is_space(text[i]) && kSpecials.find(text[i]) == kSpecials.npos) i += text[i] == '\\' ? 2 : 1;
  return std::min(i, text.size());
}

// A comment as it stands, on one line.
std::string comment_text(std::string_view raw) {
  std::string out;
  for (const char c : raw) {
    if (c != '\r') out += c == '\n' ? ' ' : c;
  }
  return out;
}

bool is_word(const Token& token) { return token.kind != Token::Kind::special; }

std::string escaped(std::string_view text, std::string_view quoted) {
  std::string out;
  for (const char c : text) {
    if (quoted.find(c) != quoted.npos) out += '\\';
    out += c;
  }
  return out;
}

// A word of a display name.
std::string word_text(const Token& token) {
  if (token.kind == Token::Kind::literal) return "[" + escaped(token.text.substr(1, token.text.size() - 2), "\\\r\n") + "]";
  const bool plain = token.kind == Token::Kind::atom && std::none_of(token.text.begin(), token.text.end(), [](unsigned char c) {
    return c <= ' ' || c == 0x7f || kSpecials.find(static_cast<char>(c)) != kSpecials.npos;
  });
  return plain ? token.text : "\"" + escaped(token.text, "\"\\\r\n") + "\"";
}

}  // namespace

std::vector<AddressList::Node> AddressList::scan(std::string_view text, std::size_t token_limit) {
  std::vector<Node> out;
  for (std::size_t at = 0; at < text.size() && out.size() < token_limit;) {
    if (is_space(text[at])) {
      ++at;
      continue;
    }
    const std::size_t end = lexeme_end(text, at);
    const std::string_view raw = text.substr(at, end - at);
    at = end;
    if (raw[0] == '(') {
      out.push_back({Node::Kind::comment, comment_text(raw), {}});
      continue;
    }
    Tokens tokens = scan_address(raw);
    if (tokens.empty()) continue;
    const bool special = tokens[0].kind == Token::Kind::special;
    std::string printed = special ? tokens[0].text : word_text(tokens[0]);
    out.push_back({special ? Node::Kind::special : Node::Kind::word, std::move(printed), std::move(tokens)});
  }
  return out;
}

AddressList::AddressList(std::string_view text, std::size_t token_limit) { parse(scan(text, token_limit)); }

// From right to left, since only what follows tells a display name from an address.  `done` is what stands right of
// here, last node first; `open` the tokens right of here that belong to no address yet, last one first.
void AddressList::parse(std::vector<Node> flat) {
  std::vector<Node> done, open;
  const auto close = [&](bool add_comma) {
    if (open.empty()) return;
    Node address{Node::Kind::address, {}, {}};
    for (auto one = open.rbegin(); one != open.rend(); ++one) {
      // Words side by side in <> are one: there is no blank in an address.
      Token& next = one->tokens.front();
      if (!address.tokens.empty() && is_word(address.tokens.back()) && is_word(next)) {
        address.tokens.back().text += next.text;
      } else {
        address.tokens.push_back(std::move(next));
      }
    }
    open.clear();
    done.push_back(std::move(address));
    if (add_comma) done.push_back({Node::Kind::special, ",", {}});
  };
  bool word_may_come = true, in_group = false;
  std::size_t left = flat.size();
  const auto take_name = [&](std::string_view until) {
    for (; left > 0 && !(flat[left - 1].kind == Node::Kind::special && until.find(flat[left - 1].text) != until.npos); --left) {
      done.push_back(std::move(flat[left - 1]));
    }
  };
  while (left > 0) {
    Node& node = flat[--left];
    if (node.kind == Node::Kind::comment) {
      done.push_back(std::move(node));
    } else if (node.kind == Node::Kind::word) {
      if (!word_may_come) close(true);   // a comma is missing
      word_may_come = false;
      open.push_back(std::move(node));
    } else if (node.is(',')) {
      close(false);
      done.push_back(std::move(node));
      word_may_come = true;
    } else if (node.is(';')) {
      close(true);
      done.push_back(std::move(node));
      word_may_come = in_group = true;
    } else if (node.is(':') && in_group) {
      close(false);
      done.push_back({Node::Kind::group_name_end, ":", {}});
      take_name(",");
      word_may_come = true;
    } else if (node.is('>')) {
      close(true);
      done.push_back(std::move(node));
      for (; left > 0 && !flat[left - 1].is('<'); --left) {
        Node& inner = flat[left - 1];
        (inner.kind == Node::Kind::comment ? done : open).push_back(std::move(inner));
      }
      close(false);
      take_name(">;,:");
      word_may_come = true;
    } else {
      open.push_back(std::move(node));
      word_may_come = true;
    }
  }
  close(false);
  nodes_.assign(std::make_move_iterator(done.rbegin()), std::make_move_iterator(done.rend()));
}

std::vector<Tokens*> AddressList::addresses() {
  std::vector<Tokens*> out;
  for (Node& node : nodes_) {
    if (node.kind == Node::Kind::address) out.push_back(&node.tokens);
  }
  return out;
}

std::string AddressList::printed(const Tokens& tokens) {
  const std::string internal = internal_text(tokens);
  return internal.empty() || internal.rfind('@') == 0 ? "\"\"" + internal : map::quote_address(internal);
}

bool AddressList::space_between(const Node& node, const Node& next) {
  if (node.kind == Node::Kind::group_name_end || next.is('<')) return true;
  return node.kind != Node::Kind::special && next.kind != Node::Kind::special && next.kind != Node::Kind::group_name_end;
}

std::string AddressList::print() const {
  std::string out, address;
  std::size_t begin = 0;
  bool has_address = false;
  const auto end_element = [&] {
    // Programs with small buffers for such text have been broken into by it (CERT CA-2003-07).
    if (has_address && out.size() - begin > address.size() + kMaxBesideAddress) out.replace(begin, out.npos, "<" + address + ">");
    has_address = false;
    address.clear();
  };
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    if (node.is(',')) {
      end_element();
      out += ",\n";
      begin = out.size();
      continue;
    }
    if (node.kind == Node::Kind::address) {
      address = printed(node.tokens);
      has_address = true;
      out += address;
    } else {
      has_address = has_address || (node.is('<') && i + 1 < nodes_.size() && nodes_[i + 1].is('>'));
      out += node.text;
    }
    if (i + 1 < nodes_.size() && space_between(node, nodes_[i + 1])) out += ' ';
  }
  end_element();
  return out;
}

std::vector<Tokens> find_addresses(std::string_view text, std::size_t token_limit) {
  AddressList list(text, token_limit);
  std::vector<Tokens> out;
  for (Tokens* const address : list.addresses()) out.push_back(std::move(*address));
  return out;
}

Result<bool> edit_addresses(std::string& value, std::size_t name_length, std::size_t token_limit, const AddressEdit& edit) {
  AddressList list(value, token_limit);
  bool changed = false;
  for (Tokens* const address : list.addresses()) {
    auto edited = edit(*address);
    if (!edited) return tl::unexpected(edited.error());
    if (!*edited) continue;
    *address = scan_address(map::quote_address(**edited));
    changed = true;
  }
  if (!changed) return false;
  const std::string lines = list.print();
  value = " ";
  std::size_t used = name_length + 1;   // of the line so far
  for (std::string_view rest = lines; !rest.empty() || value.size() == 1;) {
    const std::size_t newline = rest.find('\n');
    const std::string_view line = rest.substr(0, newline);
    if (value.size() > 1) {
      const bool fits = used + 1 + line.size() < kLineWidth;
      value += fits ? " " : "\r\n\t";
      used = fits ? used + 1 : 0;
    }
    value += line;
    used += line.size();
    if (newline == rest.npos) break;
    rest.remove_prefix(newline + 1);
    if (rest.empty()) value += ' ';   // a comma at the end
  }
  return true;
}

}  // namespace millrace::rewrite
