// The field configuration of a panel, as Grafana's panel plugins register it.
import {
  applyFieldOverrides, cacheFieldDisplayNames, dataLinksOverrideProcessor, displayNameOverrideProcessor, FieldConfigOptionsRegistry,
  identityOverrideProcessor, numberOverrideProcessor, standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry,
  thresholdsOverrideProcessor, unitOverrideProcessor, valueMappingsOverrideProcessor,
} from '@grafana/data';

export const TIME_ZONE = 'Asia/Ho_Chi_Minh';

const STANDARD = {
  unit: unitOverrideProcessor, min: numberOverrideProcessor, max: numberOverrideProcessor, decimals: numberOverrideProcessor,
  displayName: displayNameOverrideProcessor, noValue: displayNameOverrideProcessor, color: identityOverrideProcessor,
  thresholds: thresholdsOverrideProcessor, mappings: valueMappingsOverrideProcessor, links: dataLinksOverrideProcessor,
  fieldMinMax: identityOverrideProcessor,
};
const CUSTOM = [
  'width', 'minWidth', 'align', 'cellOptions', 'wrapText', 'wrapHeaderText', 'inspect', 'filterable', 'hidden', 'hideFrom', 'tooltip', 'footer',
  'drawStyle', 'lineInterpolation', 'lineWidth', 'fillOpacity', 'gradientMode', 'axisPlacement', 'axisLabel', 'axisColorMode', 'axisCenteredZero',
  'axisBorderShow', 'axisGridShow', 'axisWidth', 'axisSoftMin', 'axisSoftMax', 'pointSize', 'showPoints', 'showValues', 'barAlignment',
  'barWidthFactor', 'barMaxWidth', 'stacking', 'spanNulls', 'insertNulls', 'scaleDistribution', 'thresholdsStyle', 'lineStyle', 'lineColor',
  'fillColor', 'fillBelowTo', 'transform',
];
const registry = new FieldConfigOptionsRegistry();

// Once, before anything is drawn.
export function register() {
  const item = (id, process, more) => ({ id, path: id, name: id, process, shouldApply: () => true, override: () => null, editor: () => null, settings: {}, ...more });
  const standard = Object.entries(STANDARD).map(([id, process]) => item(id, process));
  standardFieldConfigEditorRegistry.setInit(() => standard);
  standard.forEach((one) => registry.register(one));
  CUSTOM.forEach((id) => registry.register(item(`custom.${id}`, identityOverrideProcessor, { path: id, isCustom: true })));
  const transformers = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
  standardTransformersRegistry.setInit(() => [...transformers.values()].map((one) => ({ id: one.id, transformation: async () => one, name: one.name, description: '', editor: () => null })));
}

// What the plugins take where a dashboard says nothing.
const LINES = {
  drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', axisPlacement: 'auto', axisColorMode: 'text', axisLabel: '',
  axisCenteredZero: false, axisBorderShow: false, pointSize: 5, showPoints: 'auto', showValues: false, barAlignment: 0, barWidthFactor: 0.6,
  stacking: { mode: 'none', group: 'A' }, spanNulls: false, insertNulls: false, scaleDistribution: { type: 'linear' }, thresholdsStyle: { mode: 'off' },
  hideFrom: { tooltip: false, viz: false, legend: false },
};
const BY_VALUE = { color: { mode: 'thresholds' } };
const PALETTE = { color: { mode: 'palette-classic' } };
const DEFAULTS = {
  timeseries: { ...PALETTE, custom: LINES },
  barchart: PALETTE,
  piechart: PALETTE,
  table: { ...BY_VALUE, custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false, footer: { reducers: [] } } },
};
const THRESHOLDS = { mode: 'absolute', steps: [{ color: 'green', value: null }, { color: 'red', value: 80 }] };
// JSON has no -Infinity: the first step's value is null.
const steps = (thresholds) => ({ ...thresholds, steps: thresholds.steps.map((step) => ({ ...step, value: step.value ?? -Infinity })) });

export function fieldConfig(panel) {
  const own = panel.fieldConfig?.defaults ?? {};
  const usual = DEFAULTS[panel.type] ?? BY_VALUE;
  const defaults = { ...usual, ...own, custom: { ...usual.custom, ...own.custom }, thresholds: steps(own.thresholds ?? THRESHOLDS) };
  const overrides = (panel.fieldConfig?.overrides ?? []).map((override) => ({
    ...override,
    properties: override.properties.map((property) => (property.id === 'thresholds' ? { ...property, value: steps(property.value) } : property)),
  }));
  return { defaults, overrides };
}

// What an empty panel says.
export const noValue = (panel) => panel.fieldConfig?.defaults?.noValue || 'No data';

// The frames with their units, colours, texts and names.
export function configured(panel, frames, theme, replace) {
  const data = applyFieldOverrides({ data: frames, fieldConfig: fieldConfig(panel), fieldConfigRegistry: registry, replaceVariables: replace, theme, timeZone: TIME_ZONE });
  cacheFieldDisplayNames(data);
  let series = 0;
  data.forEach((frame, frameIndex) =>
    frame.fields.forEach((field, fieldIndex) => {
      field.state = { ...field.state, origin: { frameIndex, fieldIndex } };
      if (panel.type === 'barchart' && field.type === 'number') {
        field.state.seriesIndex = series++;
      }
    })
  );
  return data;
}
