// Life of a plugin's filter: see instance.h.
#include "core/plugin/instance.h"

#include "core/base/strings.h"
#include "core/plugin/host.h"

namespace millrace::plugin {
namespace {

constexpr std::size_t kMaxLogLine = 2000;
constexpr std::size_t kMaxMetrics = 64;

std::size_t concurrency(const mr_descriptor& descriptor) {
  return descriptor.threads == MR_THREADS_SERIAL ? 1 : descriptor.max_concurrency;
}

}  // namespace

Instance::Instance(std::shared_ptr<const Library> library, const mr_descriptor& descriptor, Host host)
    : library_(std::move(library)),
      descriptor_(descriptor),
      host_(std::move(host)),
      label_("plugin " + library_->name() +
             (library_->name() == descriptor.id ? std::string() : "/" + std::string(descriptor.id))),
      gate_(concurrency(descriptor)),
      host_table_(make_host_table(*this)) {}

Instance::~Instance() {
  stop_timers(*this);
  if (filter_ == nullptr) return;
  if (started_ && filter_->stop != nullptr) filter_->stop(filter_->self);
  if (filter_->destroy != nullptr) filter_->destroy(filter_->self);
}

Result<std::shared_ptr<Instance>> Instance::make(std::shared_ptr<const Library> library, const mr_descriptor& descriptor,
                                                 const std::string& json, Host host) {
  auto instance = std::make_shared<Instance>(std::move(library), descriptor, std::move(host));
  std::string complaints;
  const auto wrong = [&](const std::string& what) {
    return fail(Errc::config, instance->label_ + ": " + what + (complaints.empty() ? "" : ": " + complaints));
  };
  for (const char* const* id = descriptor.required_interfaces; id != nullptr && *id != nullptr; ++id) {
    if (find_interface(*instance, *id) == nullptr) return wrong("needs " + printable(*id) + ", which is not there");
  }
  instance->load_log_ = &complaints;
  mr_filter* const filter = instance->library_->entry().create(&instance->host_table_, descriptor.id);
  if (filter == nullptr) return wrong("could not be created");
  if (!MR_HAS(mr_filter, filter, destroy) || filter->on_stage == nullptr || filter->destroy == nullptr) {
    return wrong("its filter is incomplete");
  }
  instance->filter_ = filter;
  if (filter->configure != nullptr && filter->configure(filter->self, {json.data(), json.size()}) < 0) {
    return wrong("does not take its configuration");
  }
  if (filter->start != nullptr && filter->start(filter->self) < 0) return wrong("does not start");
  instance->started_ = true;
  instance->load_log_ = nullptr;
  instance->host_.private_files.reset();
  return instance;
}

bool Instance::set_metric(const std::string& name, double value, bool add) {
  {
    const std::lock_guard lock(metrics_mutex_);
    const auto place = metrics_.find(name);
    if (place != metrics_.end()) place->second = add ? place->second + value : value;
    else if (metrics_.size() >= kMaxMetrics || !metrics_.emplace(name, value).second) return false;
  }
  if (host_.metrics != nullptr) host_.metrics->change(std::string_view(label_).substr(7), name, value, add);   // without "plugin "
  return true;
}

std::map<std::string, double> Instance::metrics() const {
  const std::lock_guard lock(metrics_mutex_);
  return metrics_;
}

void Instance::misbehaving(std::string_view what) {
  ++counters_.misbehaved;
  host_.log.warning(label_ + ": plugin misbehaving: " + std::string(what));
}

void Instance::log_line(std::int32_t level, std::string_view text) {
  text = text.substr(0, kMaxLogLine);
  if (load_log_ != nullptr && level >= MR_LOG_WARNING) {
    if (!load_log_->empty()) *load_log_ += "; ";
    *load_log_ += printable(text);
    return;
  }
  const std::string line = label_ + ": " + printable(text);
  if (level >= MR_LOG_ERROR) {
    host_.log.error(line);
  } else if (level == MR_LOG_WARNING) {
    host_.log.warning(line);
  } else {
    host_.log.info(line);
  }
}

}  // namespace millrace::plugin
