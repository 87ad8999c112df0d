// header_checks(5) as a plugin over core/checks: see README.md.
//
// The rules are core's; here is only what their decisions mean in the plugin ABI.  Body changes are
// collected while the body is read once, and made while it is read a second time.
#include <algorithm>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/strings.h"
#include "core/checks/checks.h"
#include "millrace/plugin.h"

namespace {

using millrace::checks::Decision;
using millrace::checks::Inspection;
using Kind = Decision::Kind;

constexpr std::size_t kPiece = 64 * 1024;

std::string_view view(mr_string text) { return {text.data, static_cast<std::size_t>(text.size)}; }
mr_string text_of(std::string_view text) { return {text.data(), text.size()}; }

struct Split {
  std::string_view name, value;
};
// "X-New: y", from a rule.
std::optional<Split> split_field(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == text.npos || colon == 0) return {};
  return Split{millrace::trim(text.substr(0, colon)), millrace::trim(text.substr(colon + 1))};
}

struct BodyEdit {
  std::uint64_t offset, length;
  std::string instead;   // whole lines
};

// The inspection of one message.
class Run {
 public:
  Run(const mr_host& host, const mr_msg_1& message, const mr_event& event, const millrace::checks::Rules& rules)
      : host_(host), message_(message), event_(event), rules_(rules) {}

  std::int32_t inspect(mr_verdict& verdict);

 private:
  bool found(const Inspection::Finding& finding);
  bool in_header(const Decision& decision);
  bool in_body(const Inspection::Finding& finding);
  bool refuse(const Decision& decision);
  bool ok(mr_rc rc) {
    if (rc != MR_OK) broken_ = "the host refused an edit (" + std::to_string(rc) + ")";
    return rc == MR_OK;
  }
  bool each_body_piece(const std::function<bool(std::string_view)>& each);
  bool rewrite_body();
  void log(std::int32_t level, const std::string& text) { host_.log(host_.ctx, event_.call, level, text_of(text)); }

  const mr_host& host_;
  const mr_msg_1& message_;
  const mr_event& event_;
  const millrace::checks::Rules& rules_;

  std::uint64_t header_index_ = 0;   // of the header looked at
  std::uint64_t header_nth_ = 0;
  std::string_view header_name_;
  std::vector<BodyEdit> body_edits_;
  std::vector<std::string> redirect_, bcc_;
  std::int32_t action_ = MR_CONTINUE;
  Decision refusal_;
  std::string held_, broken_;
};

bool Run::found(const Inspection::Finding& finding) {
  const Decision& decision = finding.decision;
  const std::string what = (finding.is_header ? "header " : "body ") + millrace::printable(finding.text.substr(0, 200));
  switch (decision.kind) {
    case Kind::dunno: return true;
    case Kind::bad: log(MR_LOG_WARNING, decision.complaint(finding.is_header ? "header_checks" : "body_checks")); return true;
    case Kind::warn: log(MR_LOG_INFO, "warning: " + what + ": " + decision.text); return true;
    case Kind::info: log(MR_LOG_INFO, "info: " + what + ": " + decision.text); return true;
    case Kind::pass: return false;
    case Kind::reject: return refuse(decision);
    case Kind::discard: action_ = MR_DISCARD; return false;
    case Kind::hold:
      if (held_.empty()) held_ = decision.text.empty() ? "triggers HOLD action" : decision.text;
      return true;
    case Kind::redirect: redirect_ = {decision.text}; return true;
    case Kind::bcc: bcc_.push_back(decision.text); return true;
    case Kind::filter:
      broken_ = "a rule says FILTER, which a plugin cannot do: " + what;
      return false;
    case Kind::ignore:
    case Kind::strip:
    case Kind::replace:
    case Kind::prepend: break;
  }
  if (decision.kind == Kind::strip) log(MR_LOG_INFO, "strip: " + what + ": " + decision.text);
  return finding.offset ? in_body(finding) : in_header(decision);
}

bool Run::refuse(const Decision& decision) {
  action_ = decision.code / 100 == 4 ? MR_TEMPFAIL : MR_REJECT;
  refusal_ = decision;
  if (refusal_.text.empty()) refusal_.text = "message content rejected";
  return false;
}

bool Run::in_header(const Decision& decision) {
  if (decision.kind == Kind::ignore || decision.kind == Kind::strip) {
    return ok(message_.header_delete(host_.ctx, event_.message, text_of(header_name_), header_nth_));
  }
  const auto field = split_field(decision.text);
  if (!field) {
    log(MR_LOG_WARNING, "\"" + decision.text + "\" is no header field");
    return true;
  }
  if (!ok(message_.header_insert(host_.ctx, event_.message, header_index_, text_of(field->name), text_of(field->value)))) {
    return false;
  }
  return decision.kind == Kind::prepend ||
         ok(message_.header_delete(host_.ctx, event_.message, text_of(header_name_), header_nth_));
}

bool Run::in_body(const Inspection::Finding& finding) {
  BodyEdit edit{*finding.offset, finding.length, {}};
  if (finding.decision.kind == Kind::prepend) edit.length = 0;
  if (finding.decision.kind == Kind::replace || finding.decision.kind == Kind::prepend) edit.instead = finding.decision.text + "\r\n";
  body_edits_.push_back(std::move(edit));
  return true;
}

bool Run::each_body_piece(const std::function<bool(std::string_view)>& each) {
  std::string piece(kPiece, '\0');
  for (std::uint64_t at = 0;;) {
    std::uint64_t got = 0;
    if (const mr_rc rc = message_.body_read(host_.ctx, event_.message, at, piece.data(), piece.size(), &got); rc != MR_OK) {
      broken_ = "cannot read the body (" + std::to_string(rc) + ")";
      return false;
    }
    if (got == 0) return true;
    if (!each(std::string_view(piece.data(), static_cast<std::size_t>(got)))) return broken_.empty();
    at += got;
  }
}

bool Run::rewrite_body() {
  std::stable_sort(body_edits_.begin(), body_edits_.end(), [](const BodyEdit& a, const BodyEdit& b) { return a.offset < b.offset; });
  std::uint64_t at = 0;         // of the piece
  std::uint64_t skip_to = 0;    // what was replaced ends here
  std::size_t next = 0;
  const auto put = [&](std::string_view bytes) {
    return bytes.empty() || ok(message_.body_append(host_.ctx, event_.message, text_of(bytes)));
  };
  const auto copy = [&](std::string_view piece) {
    const std::uint64_t end = at + piece.size();
    std::uint64_t position = std::max(at, skip_to);
    while (next < body_edits_.size() && body_edits_[next].offset < end) {
      const BodyEdit& edit = body_edits_[next++];
      if (edit.offset > position) {
        if (!put(piece.substr(position - at, edit.offset - position))) return false;
        position = edit.offset;
      }
      if (!put(edit.instead)) return false;
      position = std::max(position, edit.offset + edit.length);
      skip_to = std::max(skip_to, edit.offset + edit.length);
    }
    const bool good = position >= end || put(piece.substr(position - at));
    at = end;
    return good;
  };
  // An empty piece makes the new body be there, also when nothing of the old one is left.
  return ok(message_.body_append(host_.ctx, event_.message, {nullptr, 0})) && each_body_piece(copy) && broken_.empty();
}

std::int32_t Run::inspect(mr_verdict& verdict) {
  Inspection inspection(rules_, [this](const Inspection::Finding& finding) { return found(finding); });
  std::vector<std::string> seen;   // names, to count
  mr_string name, value;
  for (header_index_ = 0; !inspection.done(); ++header_index_) {
    if (message_.header_at(host_.ctx, event_.message, header_index_, &name, &value) != MR_OK) break;
    header_name_ = view(name);
    seen.push_back(millrace::lower(header_name_));
    header_nth_ = static_cast<std::uint64_t>(std::count(seen.begin(), seen.end(), seen.back()));
    const std::string text = std::string(header_name_) + ": " + std::string(view(value));
    inspection.header(text, header_name_, view(value));
  }
  inspection.end_of_headers();
  if (inspection.wants_body()) {
    const bool read = each_body_piece([&](std::string_view piece) {
      inspection.body(piece);
      return inspection.wants_body();
    });
    if (read) inspection.finish();
  }
  if (inspection.error()) broken_ = inspection.error()->context;
  if (broken_.empty() && action_ == MR_CONTINUE && !body_edits_.empty()) rewrite_body();
  if (broken_.empty() && !redirect_.empty()) {
    std::uint64_t count = 0;
    (void)message_.recipient_count(host_.ctx, event_.message, &count);
    for (std::uint64_t i = 0; i < count; ++i) {
      if (message_.recipient_at(host_.ctx, event_.message, i, &value) == MR_OK) {
        ok(message_.recipient_delete(host_.ctx, event_.message, value));
      }
    }
    ok(message_.recipient_add(host_.ctx, event_.message, text_of(redirect_.front())));
  }
  for (const std::string& address : bcc_) {
    if (broken_.empty()) ok(message_.recipient_add(host_.ctx, event_.message, text_of(address)));
  }
  if (!broken_.empty()) {
    log(MR_LOG_WARNING, broken_);
    return MR_E_FAILED;
  }
  verdict.reason_id = text_of("header_checks");
  verdict.action = action_ == MR_CONTINUE && !held_.empty() ? std::int32_t{MR_QUARANTINE} : action_;
  std::string text = verdict.action == MR_QUARANTINE ? held_ : action_ == MR_DISCARD ? "" : refusal_.text;
  if (action_ == MR_REJECT || action_ == MR_TEMPFAIL) {
    verdict.smtp_code = refusal_.code;
    verdict.enhanced = text_of(refusal_.enhanced);
  }
  text = millrace::printable(text);
  verdict.text = text_of(text);
  host_.complete(host_.ctx, event_.call, &verdict);   // the texts die here
  return MR_PENDING;
}

class HeaderChecks {
 public:
  explicit HeaderChecks(const mr_host& host)
      : host_(host),
        message_(static_cast<const mr_msg_1*>(host.get_interface(host.ctx, "mr.msg/1"))),
        tables_(millrace::map::TableOptions{{}, [this](const std::string& text) { log(MR_LOG_WARNING, text); }}) {
    filter_.struct_size = sizeof filter_;
    filter_.self = this;
    filter_.configure = [](void* self, mr_string json) -> mr_rc {
      try {
        return static_cast<HeaderChecks*>(self)->configure(view(json));
      } catch (const std::exception& problem) {
        static_cast<HeaderChecks*>(self)->log(MR_LOG_ERROR, problem.what());
        return MR_E_FAILED;
      }
    };
    filter_.on_stage = [](void* self, const mr_event* event, mr_verdict* verdict) -> std::int32_t {
      auto& me = *static_cast<HeaderChecks*>(self);
      try {
        return event->stage == MR_STAGE_MESSAGE ? Run(me.host_, *me.message_, *event, me.rules_).inspect(*verdict) : std::int32_t{MR_DONE};
      } catch (const std::exception& problem) {
        me.log(MR_LOG_ERROR, problem.what());
        return MR_E_FAILED;
      }
    };
    filter_.destroy = [](void* self) { delete static_cast<HeaderChecks*>(self); };
  }
  mr_filter* filter() { return &filter_; }

 private:
  void log(std::int32_t level, std::string_view text) { host_.log(host_.ctx, 0, level, text_of(text)); }

  // Indexed files are left to main.cf: their environments may be opened once in a process only.
  static bool is_usable(const std::string& table) {
    static constexpr std::string_view kTypes[] = {"pcre:", "regexp:", "cidr:", "inline:", "static:", "texthash:"};
    return std::any_of(std::begin(kTypes), std::end(kTypes), [&](std::string_view type) { return table.starts_with(type); });
  }

  mr_rc configure(std::string_view json) {
    const auto keys = nlohmann::json::parse(json);
    const auto open = [&](const char* key, millrace::map::Maps& maps) {
      const std::string value = keys.value(key, "");
      for (const std::string& table : millrace::map::split_list(value)) {
        if (is_usable(table)) continue;
        log(MR_LOG_ERROR, std::string(key) + ": " + table + ": a plugin takes pcre, regexp, cidr, inline, static and texthash tables");
        return false;
      }
      auto opened = millrace::map::Maps::open(tables_, value);
      if (!opened) {
        log(MR_LOG_ERROR, opened.error().context);
        return false;
      }
      maps = std::move(*opened);
      return true;
    };
    if (!open("header_checks", rules_.header) || !open("mime_header_checks", rules_.mime_header) ||
        !open("nested_header_checks", rules_.nested_header) || !open("body_checks", rules_.body)) {
      return MR_E_FAILED;
    }
    // mime_ and nested_header_checks are header_checks where they are not given (postconf(5)).
    if (!keys.contains("mime_header_checks")) rules_.mime_header = rules_.header;
    if (!keys.contains("nested_header_checks")) rules_.nested_header = rules_.header;
    if (keys.contains("body_size_limit")) rules_.body_size_limit = std::stoull(keys.value("body_size_limit", ""));
    if (!rules_.has_tables()) {
      log(MR_LOG_ERROR, "no tables");
      return MR_E_FAILED;
    }
    return MR_OK;
  }

  const mr_host& host_;
  const mr_msg_1* message_;
  millrace::map::TableSet tables_;
  millrace::checks::Rules rules_;
  mr_filter filter_{};
};

const char* const kNeeds[] = {"mr.msg/1", nullptr};

mr_descriptor make_descriptor() {
  mr_descriptor d{};
  d.struct_size = sizeof d;
  d.stages = MR_STAGE_MESSAGE;
  d.edits = MR_EDIT_HEADERS | MR_EDIT_BODY | MR_EDIT_ENVELOPE;
  d.body_need = MR_BODY_WHOLE;
  d.threads = MR_THREADS_FREE;
  d.traits = MR_TRAIT_DETERMINISTIC;
  d.status = MR_STATUS_ALPHA;
  d.posture = MR_POSTURE_ROBUST;
  d.id = "header_checks";
  d.version = "0.1.0";
  d.summary = "header_checks(5) rules on headers and body";
  d.required_interfaces = kNeeds;
  d.config_schema = R"({
    "header_checks": {"type": "string", "default": "", "doc": "tables for the message's headers"},
    "mime_header_checks": {"type": "string", "default": "$header_checks", "doc": "tables for headers of MIME parts"},
    "nested_header_checks": {"type": "string", "default": "$header_checks", "doc": "tables for headers of attached messages"},
    "body_checks": {"type": "string", "default": "", "doc": "tables for body lines"},
    "body_size_limit": {"type": "integer", "default": "51200", "doc": "octets of each part that body_checks sees"}})";
  return d;
}
const mr_descriptor kDescriptor = make_descriptor();

const mr_descriptor* describe(std::uint32_t index) { return index == 0 ? &kDescriptor : nullptr; }

mr_filter* create(const mr_host* host, const char*) {
  try {
    return (new HeaderChecks(*host))->filter();
  } catch (const std::exception&) {
    return nullptr;
  }
}

const mr_entry kEntry = {sizeof(mr_entry), MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, 1, 0,
                         MR_SDK_VERSION,   "bundled",    describe,     create};

}  // namespace

extern "C" MR_EXPORT const mr_entry* millrace_plugin_entry_v1(void) { return &kEntry; }
