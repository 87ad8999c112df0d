// Observers and table types: see offers.h.
#include "core/plugin/offers.h"

#include <unistd.h>

#include "core/base/strings.h"
#include "core/map/named.h"
#include "core/net/nested.h"
#include "core/plugin/filter.h"
#include "core/plugin/verdict.h"

namespace millrace::plugin {
namespace {

const void* offered(const Instance& instance, const char* id) {
  const mr_filter& filter = instance.filter();
  return MR_HAS(mr_filter, &filter, get_interface) && filter.get_interface != nullptr ? filter.get_interface(filter.self, id) : nullptr;
}

mr_string text_of(const std::string& text) { return {text.data(), text.size()}; }

}  // namespace

std::shared_ptr<Observer> Observer::make(const filter::Filter& filter) {
  std::shared_ptr<Instance> instance = instance_of(filter);
  const auto* const table = instance ? static_cast<const mr_observer_1*>(offered(*instance, "mr.observer/1")) : nullptr;
  if (!MR_HAS(mr_observer_1, table, delivered) || table->delivered == nullptr) return nullptr;
  auto out = std::make_shared<Observer>();
  out->name_ = filter.name();
  out->instance_ = std::move(instance);
  out->table_ = table;
  return out;
}

void Observer::tell(const std::vector<std::string>& told) {
  if (told.size() != 9) return;
  mr_delivery delivery{};
  delivery.struct_size = sizeof delivery;
  delivery.status = parse_number<std::int32_t>(told[0]).value_or(0);
  mr_string* const texts[] = {&delivery.queue_id, &delivery.sender, &delivery.recipient, &delivery.original_recipient,
                              &delivery.relay, &delivery.status_code, &delivery.text};
  for (std::size_t i = 0; i < std::size(texts); ++i) *texts[i] = text_of(told[i + 1]);
  delivery.delay_us = parse_number<std::uint64_t>(told[8]).value_or(0);
  net::Event done;
  const auto call = [this, &delivery, &done] {
    try {
      const net::LoopHolder holder(instance_->label().c_str());
      table_->delivered(instance_->filter().self, &delivery);
    } catch (...) {
      instance_->misbehaving("an exception left its observer");
    }
    done.set();
  };
  const auto ended = net::run_nested(net::Stack::plugin, call);
  // It uses what is ours: there is no leaving before it.
  while (ended && !*ended && !done.wait(Deadline::never())) net::offload([] { ::usleep(1000); });
}

// --- table types --------------------------------------------------------------------------------

struct TableSource::Type {
  std::string name;
  std::shared_ptr<Instance> instance;
  const mr_table_provider_1* provider = nullptr;
  std::mutex mutex;   // one call at a time
};

class TableSource::Provided final : public map::Named {
 public:
  Provided(std::shared_ptr<TableSource> source, std::string type, std::string argument)
      : Named(type + ":" + argument), source_(std::move(source)), type_name_(std::move(type)), argument_(std::move(argument)) {}
  ~Provided() override {
    if (table_ == nullptr || !MR_HAS(mr_table_provider_1, type_->provider, close) || type_->provider->close == nullptr) return;
    const std::lock_guard one(type_->mutex);
    type_->provider->close(type_->instance->filter().self, table_);
  }

  Result<void> load() {
    const std::lock_guard lock(mutex_);
    if (type_) return {};
    auto type = source_->find_type(type_name_);
    if (!type) return tl::unexpected(type.error());
    const std::lock_guard one((*type)->mutex);
    mr_rc rc = MR_E_FAILED;
    try {
      rc = (*type)->provider->open((*type)->instance->filter().self, text_of(argument_), &table_);
    } catch (...) {
      (*type)->instance->misbehaving("an exception left its table provider");
    }
    if (rc != MR_OK) return fail(Errc::config, name() + ": " + (*type)->instance->label() + " cannot open it; the log says why");
    type_ = std::move(*type);
    return {};
  }
  map::Lookup find(std::string_view key) override {
    if (const auto loaded = load(); !loaded) return fail(Errc::temporary, loaded.error().context);
    std::optional<std::string> value;
    const auto give = [](void* to, mr_string text) {
      if (const auto view = to_view(text, 1 << 20)) *static_cast<std::optional<std::string>*>(to) = std::string(*view);
    };
    mr_rc rc = MR_E_FAILED;
    {
      const std::lock_guard one(type_->mutex);
      try {
        rc = type_->provider->find(type_->instance->filter().self, table_, {key.data(), key.size()}, give, &value);
      } catch (...) {
        type_->instance->misbehaving("an exception left its table");
      }
    }
    if (rc == MR_E_ABSENT) return std::optional<std::string>();
    if (rc == MR_OK && value) return value;
    return fail(Errc::temporary, name() + ": " + type_->instance->label() + ": query error");
  }
  bool is_pattern() const override { return false; }

 private:
  std::shared_ptr<TableSource> source_;
  std::string type_name_, argument_;
  std::mutex mutex_;
  std::shared_ptr<Type> type_;   // once loaded
  void* table_ = nullptr;
};

Result<std::shared_ptr<map::Named>> TableSource::open(std::string_view type, std::string_view argument) {
  const std::string name(type);
  if (!is_plugin_name(name) || ::access((directory_ + "/" + name + ".so").c_str(), F_OK) != 0) return nullptr;
  auto made = std::make_shared<Provided>(shared_from_this(), name, std::string(argument));
  tables_.push_back(made);
  return made;
}

void TableSource::use() {
  map::use_foreign_types([self = shared_from_this()](std::string_view type, std::string_view argument) { return self->open(type, argument); });
}

Result<void> TableSource::load() {
  for (const auto& weak : tables_) {
    const auto table = weak.lock();
    if (!table) continue;
    if (auto loaded = table->load(); !loaded) return loaded;
  }
  return {};
}

Result<std::shared_ptr<TableSource::Type>> TableSource::find_type(const std::string& name) {
  const std::lock_guard lock(mutex_);
  for (const auto& known : types_) {
    if (known->name == name) return known;
  }
  if (::geteuid() == 0) return fail(Errc::config, name + ": plugins are not loaded as root");
  auto library = Library::open(directory_, name);
  if (!library) return tl::unexpected(library.error());
  const mr_descriptor& descriptor = *(*library)->descriptors().front();
  Host host;
  host.log = log_;
  auto instance = Instance::make(*library, descriptor, "{}", std::move(host));
  if (!instance) return tl::unexpected(instance.error());
  const auto* const provider = static_cast<const mr_table_provider_1*>(offered(**instance, "mr.table_provider/1"));
  if (!MR_HAS(mr_table_provider_1, provider, find) || provider->open == nullptr || provider->find == nullptr) {
    return fail(Errc::config, (*instance)->label() + " provides no tables (mr.table_provider/1)");
  }
  auto type = std::make_shared<Type>();
  type->name = name;
  type->instance = std::move(*instance);
  type->provider = provider;
  types_.push_back(type);
  return type;
}

}  // namespace millrace::plugin
