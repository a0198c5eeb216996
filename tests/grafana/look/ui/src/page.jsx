// A dashboard: the bar with its variables, and panels at the places that look.py has worked out.
import { PanelChrome } from '@grafana/ui';
import { Panel } from './panel.jsx';

function Bar({ page, theme }) {
  const box = { border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, fontSize: 12, lineHeight: '30px', padding: '0 8px' };
  return (
    <div style={{ height: page.bar, overflow: 'hidden' }}>
      <div style={{ fontSize: 13, marginBottom: 8 }}>
        Dashboards › Waypost › <b>{page.title}</b> <span style={{ opacity: 0.7 }}>{page.range} {page.refresh && `⟳ ${page.refresh}`}</span>
      </div>
      <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8 }}>
        {page.variables.map(({ label, text }) => <span key={label} style={box}><b>{label}</b> {text} ▾</span>)}
        {page.links.map((title) => <span key={title} style={box}>↗ {title}</span>)}
        <span style={{ fontSize: 9, opacity: 0.5 }}>bar: own drawing</span>
      </div>
    </div>
  );
}

function Row({ panel }) {
  return (
    <div style={{ fontSize: 16, fontWeight: 500, lineHeight: '30px' }}>
      {panel.open ? '⌄' : '›'} {panel.title} {!panel.open && <span style={{ fontSize: 12, opacity: 0.6 }}>({panel.panels.length} panels)</span>}
    </div>
  );
}

export function Page({ page, theme }) {
  const { primary } = theme.colors.text;
  return (
    <div style={{ background: theme.colors.background.canvas, boxSizing: 'border-box', color: primary, fontFamily: theme.typography.fontFamily, minHeight: page.height, padding: page.padding, width: page.width }}>
      {page.bar > 0 && <Bar page={page} theme={theme} />}
      <div style={{ position: 'relative' }}>
        {page.panels.map((panel) => (
          <div key={panel.id} style={{ height: panel.h, left: panel.x, position: 'absolute', top: panel.y, width: panel.w }}>
            {panel.type === 'row' ? <Row panel={panel} /> : (
              <PanelChrome title={panel.title} description={panel.description} width={panel.w} height={panel.h} displayMode={panel.transparent ? 'transparent' : 'default'} padding={['table', 'geomap'].includes(panel.type) ? 'none' : 'md'}>
                {(width, height) => <Panel panel={panel} page={page} theme={theme} width={width} height={height} />}
              </PanelChrome>
            )}
          </div>
        ))}
      </div>
    </div>
  );
}
