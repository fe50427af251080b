// Activation codes that lie on a GPU: on the host, or as agreements.
#include "znas/codes.hpp"

#include <algorithm>
#include <bit>
#include <span>

#include "code_gram.hpp"
#include "code_patterns.hpp"
#include "network.hpp"

namespace znas::cuda {

namespace {

using native::Shape;

// Bits one after another.
class Bits {
  public:
    explicit Bits(std::uint64_t* words) : words_(words) {}
    void put(std::uint64_t bits, int width) {
        const std::size_t word = filled_ / 64, place = filled_ % 64;
        words_[word] |= bits << place;
        if (place + at(width) > 64) words_[word + 1] |= bits >> (64 - place);
        filled_ += at(width);
    }

  private:
    std::uint64_t* words_;
    std::size_t filled_ = 0;
};

// times [masks, sites] of the values of sites [masks, coded values].
std::vector<std::int32_t> counted_of(const Codes& codes,
                                     const std::vector<std::vector<std::int64_t>>& times) {
    const Plan& plan = codes.network->plan;
    const auto& sites = plan.program->sites();
    if (times.size() != at(codes.masks)) throw Error("one row of factors per mask is needed");
    std::vector<std::int32_t> counted;
    for (const auto& of_mask : times) {
        if (of_mask.size() != sites.size()) throw Error("one factor per site is needed");
        const std::size_t first = counted.size();
        counted.resize(first + plan.coded.size());
        for (std::size_t s = 0; s < sites.size(); ++s) {
            for (const int v : sites[s]) {
                const auto place =
                    std::lower_bound(plan.coded.begin(), plan.coded.end(), v) - plan.coded.begin();
                counted[first + static_cast<std::size_t>(place)] += static_cast<std::int32_t>(of_mask[s]);
            }
        }
    }
    return counted;
}

}  // namespace

std::vector<std::uint64_t> download(const Codes& codes, int mask, int site) {
    const Plan& plan = codes.network->plan;
    const std::vector<int>& values = plan.program->sites().at(at(site));
    std::size_t units = 0;
    for (const int v : values) {
        const Shape& shape = plan.program->values()[at(v)].shape;
        units += at(shape.channels) * at(shape.height) * at(shape.width);
    }
    const std::size_t images = at(codes.images), pitch = plan.code_entries * sizeof(std::uint16_t);
    std::vector<std::vector<std::uint16_t>> entries;  // per value [images, entries]
    const Stream stream(codes.entries.device());
    for (const int v : values) {
        const Shape& shape = plan.program->values()[at(v)].shape;
        const std::size_t count =
            at((shape.channels + kBlock - 1) / kBlock) * at(shape.height) * at(shape.width);
        auto& lying = entries.emplace_back(images * count);
        const auto place = static_cast<std::size_t>(
            std::lower_bound(plan.coded.begin(), plan.coded.end(), v) - plan.coded.begin());
        const std::uint16_t* from =
            codes.entries.data() + at(mask) * images * plan.code_entries + plan.code_places[place];
        check(cudaMemcpy2DAsync(lying.data(), count * sizeof(std::uint16_t), from, pitch,
                                count * sizeof(std::uint16_t), images, cudaMemcpyDeviceToHost, stream),
              "cudaMemcpy");
    }
    stream.wait();
    std::vector<std::uint64_t> words(images * code_words(units));
    for (std::size_t n = 0; n < images; ++n) {
        Bits bits(words.data() + n * code_words(units));
        for (std::size_t i = 0; i < values.size(); ++i) {
            const Shape& shape = plan.program->values()[at(values[i])].shape;
            const std::size_t pixels = at(shape.height) * at(shape.width), count = entries[i].size() / images;
            for (std::size_t e = 0; e < count; ++e) {
                const int block = static_cast<int>(e / pixels);
                bits.put(entries[i][n * count + e], std::min(kBlock, shape.channels - block * kBlock));
            }
        }
    }
    return words;
}

std::vector<std::int64_t> agreements(const Codes& codes,
                                     const std::vector<std::vector<std::int64_t>>& times) {
    const Plan& plan = codes.network->plan;
    constexpr std::size_t kEntries = 4;  // of 16 units in a word
    static_assert(kCodeEntries == kEntries * kCodeWords);
    std::vector<CodeRange> ranges;
    for (std::size_t i = 0; i < plan.coded.size(); ++i) {
        const Shape& shape = plan.program->values()[at(plan.coded[i])].shape;
        const Offset end = i + 1 < plan.coded.size() ? plan.code_places[i + 1] : plan.code_entries;
        ranges.push_back({plan.code_places[i] / kEntries, end / kEntries,
                          static_cast<std::int64_t>(shape.channels) * shape.height * shape.width});
    }
    const std::vector<std::int32_t> counted = counted_of(codes, times);
    const Stream stream(codes.entries.device());
    const Resident<CodeRange> ranges_there(stream, std::span<const CodeRange>(ranges));
    const Resident<std::int32_t> counted_there(stream, std::span<const std::int32_t>(counted));
    const std::size_t images = at(codes.images), size = at(codes.masks) * images * images;
    const Resident<std::int64_t> gram(stream, size);
    check(cudaMemsetAsync(gram.data(), 0, size * sizeof(std::int64_t), stream), "cudaMemset");
    check(code_gram(reinterpret_cast<const std::uint64_t*>(codes.entries.data()), codes.masks, codes.images,
                    plan.code_entries / kEntries, ranges_there.data(), static_cast<int>(ranges.size()),
                    counted_there.data(), gram.data(), stream),
          "code_gram");
    std::vector<std::int64_t> found;
    copy_to_host(gram.data(), size, found, stream);
    stream.wait();
    return found;
}

std::vector<std::int32_t> patterns(const Codes& codes, const std::vector<std::vector<std::int64_t>>& times) {
    constexpr std::size_t kTables = std::size_t{1} << 28;  // bytes of the tables of some masks together
    if (codes.images > kPatternImages) throw Error("patterns of more images than a word has bits");
    const Plan& plan = codes.network->plan;
    std::vector<CodeUnits> values;
    std::size_t units = 0, most_entries = 1;
    for (std::size_t i = 0; i < plan.coded.size(); ++i) {
        const Shape& shape = plan.program->values()[at(plan.coded[i])].shape;
        const std::size_t pixels = at(shape.height) * at(shape.width);
        values.push_back({plan.code_places[i], shape.channels, shape.height * shape.width});
        units += at(shape.channels) * pixels;
        most_entries = std::max(most_entries, at((shape.channels + kBlock - 1) / kBlock) * pixels);
    }
    const std::vector<std::int32_t> counted = counted_of(codes, times);
    const Offset slots = std::bit_ceil(2 * units + 1);
    const std::size_t masks = at(codes.masks);
    const std::size_t together = std::clamp<std::size_t>(kTables / (slots * sizeof(std::uint64_t)), 1,
                                                         std::max<std::size_t>(masks, 1));
    std::vector<std::int32_t> found;
    const Stream stream(codes.entries.device());
    const Resident<CodeUnits> values_there(stream, std::span<const CodeUnits>(values));
    const Resident<std::int32_t> counted_there(stream, std::span<const std::int32_t>(counted));
    const Resident<unsigned long long> tables(stream, together * (slots + 1));
    const Resident<std::int32_t> found_there(stream, masks);
    check(cudaMemsetAsync(found_there.data(), 0, masks * sizeof(std::int32_t), stream), "cudaMemset");
    for (std::size_t first = 0; first < masks; first += together) {
        const std::size_t here = std::min(together, masks - first);
        check(cudaMemsetAsync(tables.data(), 0xFF, tables.size() * sizeof(std::uint64_t), stream),
              "cudaMemset");
        check(count_patterns(codes.entries.data() + first * at(codes.images) * plan.code_entries,
                             static_cast<int>(here), codes.images, plan.code_entries, values_there.data(),
                             static_cast<int>(values.size()), static_cast<int>(most_entries),
                             counted_there.data() + first * values.size(), tables.data(), slots,
                             found_there.data() + first, stream),
              "count_patterns");
    }
    copy_to_host(found_there.data(), masks, found, stream);
    stream.wait();
    return found;
}

}  // namespace znas::cuda
