// Figures and gauges, by Grafana's components.
import { getDisplayValueAlignmentFactors, getFieldDisplayValues } from '@grafana/data';
import { BarGauge, BigValue, VizRepeater } from '@grafana/ui';
import { fieldConfig, TIME_ZONE } from './fields.js';

function Repeated({ panel, data, width, height, theme, replace, sparkline, children }) {
  const options = panel.options ?? {};
  const values = () =>
    getFieldDisplayValues({
      fieldConfig: fieldConfig(panel),
      reduceOptions: options.reduceOptions,
      replaceVariables: replace,
      theme,
      data,
      timeZone: TIME_ZONE,
      sparkline,
    });
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      width={width}
      height={height}
      source={data}
      renderCounter={1}
      itemSpacing={sparkline === undefined ? 10 : 3}
      autoGrid
      orientation={options.orientation}
      renderValue={children}
    />
  );
}

export function Stat(props) {
  const { panel, theme } = props;
  const { colorMode, graphMode, justifyMode, textMode, wideLayout } = panel.options;
  const mode =
    textMode === 'auto' && (fieldConfig(panel).defaults.displayName || !panel.title) ? 'value_and_name' : textMode;
  return (
    <Repeated {...props} sparkline={graphMode !== 'none'}>
      {({ value, width, height, alignmentFactors, count }) => (
        <BigValue
          value={value.display}
          count={count}
          sparkline={value.sparkline}
          colorMode={colorMode}
          graphMode={graphMode}
          justifyMode={justifyMode}
          textMode={mode}
          text={panel.options.text}
          alignmentFactors={alignmentFactors}
          width={width}
          height={height}
          theme={theme}
          wideLayout={wideLayout}
        />
      )}
    </Repeated>
  );
}

export function BarGauges(props) {
  const { panel, theme } = props;
  const { displayMode, showUnfilled, valueMode, namePlacement } = panel.options;
  return (
    <Repeated {...props}>
      {({ value, width, height, alignmentFactors, orientation }) => (
        <BarGauge
          value={value.display}
          field={value.field}
          text={panel.options.text}
          display={value.view?.getFieldDisplayProcessor?.(value.colIndex)}
          orientation={orientation}
          width={width}
          height={height}
          theme={theme}
          alignmentFactors={alignmentFactors}
          itemSpacing={10}
          lcdCellWidth={12}
          displayMode={displayMode}
          showUnfilled={showUnfilled}
          valueDisplayMode={valueMode}
          namePlacement={namePlacement}
        />
      )}
    </Repeated>
  );
}
