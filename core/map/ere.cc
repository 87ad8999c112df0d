#include "core/map/ere.h"

#include <bitset>
#include <optional>
#include <vector>

#include "core/base/strings.h"

namespace millrace::map {

namespace {

// An atom that matches nothing at all.
constexpr std::string_view kNever = "[^\\x00-\\xff]";
constexpr unsigned kMaxRepeat = 32767;   // RE_DUP_MAX

using Set = std::bitset<256>;

bool add_class(std::string_view name, bool ignore_case, Set& set) {
  const auto add = [&](auto&& member) {
    for (unsigned c = 0; c < 128; ++c) {
      if (member(static_cast<char>(c))) set.set(c);
    }
    return true;
  };
  const auto graph = [](char c) { return c > ' ' && c < 127; };
  if (ignore_case && (name == "upper" || name == "lower")) name = "alpha";
  if (name == "alpha") return add(is_alpha);
  if (name == "digit") return add(is_digit);
  if (name == "alnum") return add(is_alnum);
  if (name == "upper") return add([](char c) { return c >= 'A' && c <= 'Z'; });
  if (name == "lower") return add([](char c) { return c >= 'a' && c <= 'z'; });
  if (name == "space") return add(is_space);
  if (name == "blank") return add([](char c) { return c == ' ' || c == '\t'; });
  if (name == "punct") return add([&](char c) { return graph(c) && !is_alnum(c); });
  if (name == "print") return add([&](char c) { return graph(c) || c == ' '; });
  if (name == "graph") return add(graph);
  if (name == "cntrl") return add([](char c) { return (c >= 0 && c < ' ') || c == 127; });
  if (name == "xdigit")
    return add([](char c) { return is_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'f'); });
  return false;
}

class Translator {
 public:
  Translator(std::string_view pattern, const PosixSyntax& syntax) : in_(pattern), syntax_(syntax) {}

  Result<std::string> run() {
    while (at_ < in_.size() && error_.empty()) step();
    if (error_.empty() && !open_.empty()) error_ = "Unmatched ( or \\(";
    if (!error_.empty()) return fail(Errc::protocol, error_);
    return std::move(out_);
  }

 private:
  // What stands before the next token.
  enum class Before { nothing, anchor, atom, repeat };
  struct Group { std::size_t begin; unsigned number; };
  struct Element { enum class Kind { character, set, symbol } kind; unsigned char c = 0; };

  bool extended() const { return syntax_.extended; }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool refuse(std::string_view why) {
    error_ = why;
    return false;
  }

  void step() {
    const char c = in_[at_++];
    if (c == '\\') return escape();
    if (c == '[') return list();
    if (c == '.') return atom(".");
    if (c == '*') return repeat_or_literal("*");
    if (c == '^') {
      const bool first = at_ == 1 || (before_ == Before::nothing && after_operator_);
      return extended() || first ? anchor("^") : literal(c);
    }
    if (c == '$') {
      const bool last = at_ == in_.size() || (peek() == '\\' && (peek(1) == ')' || peek(1) == '|'));
      return extended() || last ? anchor("$") : literal(c);
    }
    if (extended()) {
      if (c == '+' || c == '?') return repeat_or_literal({&c, 1});
      if (c == '{') return interval();
      if (c == '(') return open();
      if (c == ')' && !open_.empty()) return close();
      if (c == '|') return alternative();
    }
    literal(c);
  }

  void escape() {
    if (at_ == in_.size()) return void(refuse("Trailing backslash"));
    const char c = in_[at_++];
    if (!extended()) {
      if (c == '(') return open();
      if (c == ')') return open_.empty() ? void(refuse("Unmatched ( or \\(")) : close();
      if (c == '{') return interval();
      if (c == '|') return alternative();
      if (c == '+' || c == '?') return repeat_or_literal({&c, 1});
    }
    switch (c) {
      case 'w': case 'W': case 's': case 'S': return atom(std::string{'\\', c});
      case 'b': case 'B': return anchor(std::string{'\\', c});
      case '<': return anchor("\\b(?=\\w)");
      case '>': return anchor("\\b(?<=\\w)");
      case '`': return anchor("\\A");
      case '\'': return anchor("\\z");
      default: break;
    }
    if (c >= '1' && c <= '9') {
      const unsigned number = static_cast<unsigned>(c - '0');
      if (number >= completed_.size() || !completed_[number]) return void(refuse("Invalid back reference"));
      return atom("\\g{" + std::to_string(number) + "}");
    }
    // regcomp compares such a letter unfolded with folded text: it never matches, and tables in the field
    // behave as if it did not (a \d taken for "d" would match every word).
    if (syntax_.ignore_case && c >= 'a' && c <= 'z') return atom(std::string(kNever));
    literal(c);
  }

  void note(Before now) {
    before_ = now;
    after_operator_ = false;
  }
  void atom(std::string_view text) {
    atom_begin_ = out_.size();
    out_ += text;
    note(Before::atom);
  }
  void anchor(std::string_view text) {
    out_ += text;
    note(Before::anchor);
  }
  void literal(char c) {
    atom_begin_ = out_.size();
    if (!is_alnum(c) && static_cast<unsigned char>(c) < 128 && c != '\n') out_ += '\\';
    out_ += c;
    note(Before::atom);
  }

  void open() {
    open_.push_back({out_.size(), ++groups_});
    completed_.resize(groups_ + 1);
    out_ += '(';
    before_ = Before::nothing;
    after_operator_ = true;
  }
  void close() {
    out_ += ')';
    atom_begin_ = open_.back().begin;
    completed_[open_.back().number] = true;
    open_.pop_back();
    note(Before::atom);
  }
  void alternative() {
    out_ += '|';
    before_ = Before::nothing;
    after_operator_ = true;
  }

  void repeat_or_literal(std::string_view quantifier) {
    if (before_ == Before::nothing || before_ == Before::anchor) {
      if (extended()) return void(refuse("Invalid preceding regular expression"));
      return literal(quantifier[0]);
    }
    if (!extended() && before_ == Before::repeat && quantifier == "*")
      return void(refuse("Invalid preceding regular expression"));
    repeat(quantifier);
  }
  void repeat(std::string_view quantifier) {
    // "a*?" means (a*)? here; PCRE would read a lazy quantifier.
    if (before_ == Before::repeat) {
      out_.insert(atom_begin_, "(?:");
      out_ += ')';
    }
    out_ += quantifier;
    note(Before::repeat);
  }

  // after "{" or "\{"
  void interval() {
    if (before_ == Before::nothing || before_ == Before::anchor || (!extended() && before_ == Before::repeat))
      return void(refuse("Invalid preceding regular expression"));
    const auto number = [&]() -> std::optional<unsigned> {
      unsigned value = 0;
      const std::size_t begin = at_;
      while (is_digit(peek())) value = std::min(kMaxRepeat + 1, value * 10 + static_cast<unsigned>(in_[at_++] - '0'));
      return at_ == begin ? std::nullopt : std::optional(value);
    };
    const auto low = number();
    auto high = low;
    const bool comma = peek() == ',';
    if (comma) {
      ++at_;
      high = number();
    }
    if (at_ >= in_.size()) return void(refuse("Unmatched \\{"));
    if ((!low && !comma) || (!extended() && peek() != '\\') || peek(extended() ? 0 : 1) != '}')
      return void(refuse("Invalid content of \\{\\}"));
    at_ += extended() ? 1 : 2;
    if (high && low.value_or(0) > *high) return void(refuse("Invalid content of \\{\\}"));
    if (low.value_or(0) > kMaxRepeat || high.value_or(0) > kMaxRepeat)
      return void(refuse("Regular expression too big"));
    std::string text = "{" + std::to_string(low.value_or(0));
    if (comma) text += "," + (high ? std::to_string(*high) : "");
    repeat(text + "}");
  }

  // One element of a list; at_ is on it.
  bool element(Set& set, bool hyphen_allowed, Element& out) {
    const char c = in_[at_];
    if (c == '[' && (peek(1) == ':' || peek(1) == '.' || peek(1) == '=')) {
      const char kind = peek(1);
      const std::size_t end = in_.find(std::string{kind, ']'}, at_ + 2);
      if (end == in_.npos || end - at_ - 2 > 31) return refuse(kUnmatched);
      const std::string_view name = in_.substr(at_ + 2, end - at_ - 2);
      at_ = end + 2;
      out.kind = Element::Kind::set;
      if (kind == ':')
        return add_class(name, syntax_.ignore_case, set) || refuse("Invalid character class name");
      if (name.size() != 1) return refuse("Invalid collation character");
      out = {kind == '.' ? Element::Kind::character : Element::Kind::symbol, fold(name[0])};
      return true;
    }
    // A hyphen that is neither first, nor last, nor an end of a range.
    if (c == '-' && !hyphen_allowed && peek(1) != ']') return refuse("Invalid range end");
    ++at_;
    out = {Element::Kind::character, fold(c)};
    return true;
  }
  unsigned char fold(char c) const { return static_cast<unsigned char>(syntax_.ignore_case ? to_upper(c) : c); }

  void list() {
    Set set;
    const bool negated = peek() == '^';
    if (negated) ++at_;
    for (bool first = true;; first = false) {
      if (at_ >= in_.size()) return void(refuse(kUnmatched));
      if (in_[at_] == ']' && !first) break;
      Element begin{};
      if (!element(set, first, begin)) return;
      if (at_ >= in_.size()) return void(refuse(kUnmatched));
      if (begin.kind == Element::Kind::character && in_[at_] == '-' && peek(1) != ']') {
        if (++at_ >= in_.size()) return void(refuse(kUnmatched));
        Element end{};
        if (!element(set, true, end)) return;
        if (end.kind != Element::Kind::character || begin.c > end.c) return void(refuse("Invalid range end"));
        for (unsigned c = begin.c; c <= end.c; ++c) set.set(c);
      } else if (begin.kind != Element::Kind::set) {
        set.set(begin.c);
      }
    }
    ++at_;
    if (negated && syntax_.newline) set.set('\n');
    atom(list_text(set, negated));
  }

  static std::string list_text(const Set& set, bool negated) {
    static const char kHex[] = "0123456789abcdef";
    if (set.none()) return std::string(kNever);
    std::string out = negated ? "[^" : "[";
    const auto put = [&](unsigned c) {
      out += "\\x";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    };
    for (unsigned c = 0; c < 256; ++c) {
      if (!set[c]) continue;
      unsigned last = c;
      while (last < 255 && set[last + 1]) ++last;
      put(c);
      if (last > c) {
        out += '-';
        put(last);
      }
      c = last;
    }
    return out + "]";
  }

  static constexpr std::string_view kUnmatched = "Unmatched [, [^, [:, [., or [=";

  std::string_view in_;
  PosixSyntax syntax_;
  std::size_t at_ = 0;
  std::string out_, error_;
  std::size_t atom_begin_ = 0;
  Before before_ = Before::nothing;
  bool after_operator_ = false;      // nothing stands between us and "(" or "|"
  std::vector<Group> open_;
  std::vector<bool> completed_{false};
  unsigned groups_ = 0;
};

}  // namespace

Result<std::string> translate_posix(std::string_view pattern, const PosixSyntax& syntax) {
  return Translator(pattern, syntax).run();
}

}  // namespace millrace::map
