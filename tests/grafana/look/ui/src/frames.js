// Answers of the data sources as Grafana's data frames.
import { FieldType, toDataFrame } from '@grafana/data';

const bare = (type) => {
  const inner = /^(?:Nullable|LowCardinality)\((.*)\)$/.exec(type);
  return inner ? bare(inner[1]) : type;
};

function fieldType(type) {
  if (/^Date/.test(type)) {
    return FieldType.time;
  }
  if (/^(U?Int|Float|Decimal)/.test(type)) {
    return FieldType.number;
  }
  return type === 'Bool' ? FieldType.boolean : FieldType.string;
}

function value(type, found) {
  if (found === null) {
    return null;
  }
  if (/^DateTime/.test(type)) {
    return Math.round(Number(found) * 1000);
  }
  if (/^Date/.test(type)) {
    return Date.parse(found);
  }
  return fieldType(type) === FieldType.number ? Number(found) : found;
}

// ClickHouse's columns and rows.
function table({ refId, meta, data }) {
  const fields = meta.map(({ name, type }, at) => ({ name, type: fieldType(bare(type)), values: data.map((row) => value(bare(type), row[at])), config: {} }));
  return { refId, fields };
}

// A query of the format "time series" with a column of text is one series for each text, as the plugin makes it.
function series(frame) {
  const labels = frame.fields.filter((field) => field.type === FieldType.string);
  if (!labels.length) {
    return [frame];
  }
  const rows = frame.fields[0].values.map((_, row) => row);
  const groups = Map.groupBy(rows, (row) => JSON.stringify(labels.map((label) => label.values[row])));
  return [...groups.values()].map((group) => {
    const named = Object.fromEntries(labels.map((label) => [label.name, label.values[group[0]]]));
    const fields = frame.fields.filter((field) => !labels.includes(field));
    return { ...frame, fields: fields.map((field) => ({ ...field, values: group.map((row) => field.values[row]), labels: field.type === FieldType.time ? undefined : named })) };
  });
}

export function frames(results) {
  return (results ?? []).flatMap((result) => {
    if (result.frames) {
      return result.frames.map(toDataFrame);
    }
    if (!result.meta) {
      return [];
    }
    const frame = table(result);
    return (result.format === 'timeseries' ? series(frame) : [frame]).map(toDataFrame);
  });
}
