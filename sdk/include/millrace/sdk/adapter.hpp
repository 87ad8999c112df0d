// Between the C ABI and a Filter: nothing thrown crosses, texts live as long as they must.
#ifndef MILLRACE_SDK_ADAPTER_HPP
#define MILLRACE_SDK_ADAPTER_HPP

#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "millrace/sdk/filter.hpp"
#include "millrace/sdk/settings.hpp"

namespace millrace {
namespace sdk {
namespace detail {

template <typename F>
class Adapter {
 public:
  explicit Adapter(const mr_host* host) {
    impl_.host_ = std::make_unique<Host>(*host);
    filter_.struct_size = sizeof filter_;
    filter_.self = this;
    filter_.configure = [](void* self, mr_string json) -> mr_rc {
      return guarded(self, [&](Adapter& a) -> mr_rc {
        const auto settings = SettingsReader(view(json)).read();
        if (!settings) {
          a.impl_.host().error("its configuration is no JSON object of strings");
          return MR_E_ARGUMENT;
        }
        return a.impl_.configure(*settings) ? MR_OK : MR_E_FAILED;
      });
    };
    filter_.start = [](void* self) -> mr_rc {
      return guarded(self, [](Adapter& a) -> mr_rc { return a.impl_.start() ? MR_OK : MR_E_FAILED; });
    };
    filter_.on_stage = [](void* self, const mr_event* event, mr_verdict* verdict) -> std::int32_t {
      return guarded(self, [&](Adapter& a) -> std::int32_t { return a.on_stage(*event, *verdict); });
    };
    filter_.stop = [](void* self) { (void)guarded(self, [](Adapter& a) -> mr_rc { return a.impl_.stop(), MR_OK; }); };
    filter_.destroy = [](void* self) { delete static_cast<Adapter*>(self); };
    filter_.get_interface = [](void* self, const char* id) -> const void* {
      const F& impl = static_cast<Adapter*>(self)->impl_;
      if (std::strcmp(id, "mr.restriction/1") == 0) return impl.is_restriction() ? &kRestriction : nullptr;
      if (std::strcmp(id, "mr.observer/1") == 0) return impl.observes_deliveries() ? &kObserver : nullptr;
      if (std::strcmp(id, "mr.table_provider/1") == 0) return impl.provides_tables() ? &kTables : nullptr;
      return nullptr;
    };
  }
  mr_filter* filter() { return &filter_; }

 private:
  template <typename Body>
  static std::int32_t guarded(void* self, Body body) noexcept {
    Adapter& adapter = *static_cast<Adapter*>(self);
    try {
      return body(adapter);
    } catch (const std::exception& problem) {
      adapter.impl_.host().error(problem.what());
    } catch (...) {
      adapter.impl_.host().error("something that is no std::exception was thrown");
    }
    return MR_E_FAILED;
  }

  Verdict ask(Call& call) {
    switch (call.stage()) {
      case MR_STAGE_CONNECT: return impl_.connect(call);
      case MR_STAGE_HELO: return impl_.helo(call);
      case MR_STAGE_MAIL: return impl_.mail(call);
      case MR_STAGE_RCPT: return impl_.rcpt(call);
      case MR_STAGE_DATA: return impl_.data(call);
      case MR_STAGE_MESSAGE: return impl_.message(call);
      case MR_STAGE_UNKNOWN: return impl_.unknown(call);
      case MR_STAGE_ABORT: impl_.abort(call); break;
      default: break;
    }
    return {};
  }
  std::int32_t on_stage(const mr_event& event, mr_verdict& verdict) {
    if (event.stage == MR_STAGE_CLOSE) {
      delete static_cast<Box*>(*event.session_data);
      *event.session_data = nullptr;
      return MR_DONE;
    }
    Call call(impl_.host(), event);
    return ask(call).give(impl_.host().raw(), event.call, verdict);
  }
  static std::int32_t check(void* self, const mr_event* event, const mr_fact* attributes, std::uint64_t count, mr_string* action) {
    return guarded(self, [&](Adapter& a) -> std::int32_t {
      Call call(a.impl_.host(), *event);
      Attributes list;
      for (std::uint64_t i = 0; i < count; ++i) list.emplace_back(std::string(view(attributes[i].name)), std::string(view(attributes[i].value)));
      std::string& kept = call.box().action;
      kept = a.impl_.check(call, list);
      *action = text_of(kept);
      return MR_DONE;
    });
  }
  static void delivered(void* self, const mr_delivery* told) {
    (void)guarded(self, [&](Adapter& a) -> mr_rc {
      Delivery one;
      one.status = told->status;
      one.queue_id = view(told->queue_id);
      one.sender = view(told->sender);
      one.recipient = view(told->recipient);
      one.original_recipient = view(told->original_recipient);
      one.relay = view(told->relay);
      one.status_code = view(told->status_code);
      one.text = view(told->text);
      one.delay_us = told->delay_us;
      a.impl_.delivered(one);
      return MR_OK;
    });
  }
  static mr_rc open_table(void* self, mr_string name, void** table) {
    return guarded(self, [&](Adapter& a) -> mr_rc {
      std::unique_ptr<TableBase> made = a.impl_.open_table(view(name));
      *table = made.release();
      return *table != nullptr ? MR_OK : MR_E_FAILED;
    });
  }
  static mr_rc find_in_table(void* self, void* table, mr_string key, void (*give)(void*, mr_string), void* to) {
    return guarded(self, [&](Adapter&) -> mr_rc {
      const auto found = static_cast<TableBase*>(table)->find(view(key));
      if (!found) return MR_E_ABSENT;
      give(to, text_of(*found));
      return MR_OK;
    });
  }
  static void close_table(void*, void* table) { delete static_cast<TableBase*>(table); }

  static constexpr mr_restriction_1 kRestriction{sizeof(mr_restriction_1), 0, &Adapter::check};
  static constexpr mr_observer_1 kObserver{sizeof(mr_observer_1), 0, &Adapter::delivered};
  static constexpr mr_table_provider_1 kTables{sizeof(mr_table_provider_1), 0, &Adapter::open_table, &Adapter::find_in_table, &Adapter::close_table};

  F impl_;
  mr_filter filter_{};
};

template <typename F>
const mr_descriptor* descriptor() {
  static const mr_descriptor made = [] {
    const Description d = F::describe();
    mr_descriptor out{};
    out.struct_size = sizeof out;
    out.stages = d.stages | MR_STAGE_CLOSE;
    out.edits = d.edits;
    out.body_need = d.reads_body ? MR_BODY_WHOLE : MR_BODY_NONE;
    out.threads = MR_THREADS_FREE;
    out.traits = d.traits;
    out.max_concurrency = d.max_concurrency;
    out.status = d.status;
    out.posture = d.posture;
    out.id = d.id;
    out.version = d.version;
    out.summary = d.summary;
    out.required_interfaces = d.required_interfaces;
    out.config_schema = d.config_schema;
    out.before = d.before;
    out.after = d.after;
    return out;
  }();
  return &made;
}

// The filters of one plugin.
template <typename... Fs>
struct Plugin {
  static const mr_descriptor* describe(std::uint32_t index) {
    const mr_descriptor* const all[] = {descriptor<Fs>()...};
    return index < sizeof...(Fs) ? all[index] : nullptr;
  }
  static mr_filter* create(const mr_host* host, const char* id) {
    mr_filter* made = nullptr;
    try {
      (void)((std::strcmp(id, descriptor<Fs>()->id) == 0 && (made = (new Adapter<Fs>(host))->filter()) != nullptr) || ...);
    } catch (...) {
      return nullptr;
    }
    return made;
  }
  static const mr_entry* entry() {
    static const mr_entry made = {sizeof(mr_entry), MR_ABI_MAJOR,   MR_ABI_MINOR, MR_ABI_DRAFT, sizeof...(Fs), 0,
                                  MR_SDK_VERSION,   "plugin.hpp",   describe,     create};
    return &made;
  }
};

}  // namespace detail
}  // namespace sdk
}  // namespace millrace

#endif
